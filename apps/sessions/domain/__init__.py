"""The rules of sessions: pure; no clock, no client, no event loop."""
