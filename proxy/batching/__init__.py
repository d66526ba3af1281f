"""Calls that may wait: a queue, the one dispatcher that empties it, and what a caller sees of both."""
