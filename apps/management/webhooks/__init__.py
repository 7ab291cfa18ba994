"""Delivering webhooks: what is said, how it is sent, and when it is tried again."""
