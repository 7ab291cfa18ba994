"""The engines that come with the platform, one folder each.

An engine folder holds its declaration (``engine.py``), what its steps do (``steps.py``, plain
functions that a test calls without any server), its channels (``configs/engine.yml``) and how it
is packed (``Dockerfile``). Engines are strangers to each other: what two of them need belongs in
the SDK, and what one sends another is a message.
"""
