"""The loops of management. Each takes one thing, makes one atomic step, and goes on."""
