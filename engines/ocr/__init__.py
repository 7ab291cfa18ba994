"""Read the text in the boxes found on each image."""
