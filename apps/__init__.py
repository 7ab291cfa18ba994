"""The services: what both share (sessions), the REST gateway, management, and the one-box platform."""
