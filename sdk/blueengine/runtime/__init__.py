"""An engine at work: a parent process that speaks to the platform, and worker processes that run
the author's functions. The parent never runs them; a worker never speaks to Redis.
"""
