"""Private text out of what is kept."""
