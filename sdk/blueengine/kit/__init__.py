"""General parts without a domain word in them: clock, logs, tasks, the Redis link."""
