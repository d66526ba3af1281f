"""One dataset made of another: without a person, without a prefix, with better answers."""
