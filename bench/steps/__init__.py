"""The engine of the ``sdk`` benchmark."""
