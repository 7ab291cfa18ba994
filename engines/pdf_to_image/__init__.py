"""Turn each PDF it is sent into images, one a page."""
