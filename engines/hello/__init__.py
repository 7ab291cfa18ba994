"""The smallest engine there is: one message in, one greeting out."""
