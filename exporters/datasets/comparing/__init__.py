"""What is the same, nearly the same, the beginning of another, or part of an evaluation set."""
