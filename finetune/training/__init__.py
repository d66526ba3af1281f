"""The parts of training here: base, conversations as tokens, adapter, estimate, checkpoints, what is told meanwhile."""
