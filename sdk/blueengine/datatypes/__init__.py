"""The types of data channels: how a value becomes bytes and comes back. Heavy imports stay inside.

``base.py`` has the table of types; names are case-insensitive on input, canonical everywhere else.
"""
