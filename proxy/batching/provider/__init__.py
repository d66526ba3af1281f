"""Batches at a provider: gathered, sent, looked after and read; and those that callers make themselves."""
