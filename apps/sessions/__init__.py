"""What gateway and management must agree on: the word *session*, its rules and its store."""
