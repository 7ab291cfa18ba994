"""An engine at work: a parent process, and worker processes that run the author's functions.

The parent speaks to the platform and never runs the author's code; a worker never speaks to Redis.
"""
