"""Find where text stands on each image it is sent."""
