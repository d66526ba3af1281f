"""Rows to conversations: put together, and left out where a model should not learn from them."""
