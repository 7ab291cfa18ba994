"""Speaking to a platform from outside, over REST."""
