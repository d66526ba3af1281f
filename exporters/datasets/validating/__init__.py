"""Training files against the rules of those who read them."""
