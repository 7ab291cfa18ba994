"""Use cases of the gateway; they know sessions and files, and nothing of HTTP."""
