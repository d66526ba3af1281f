"""What goes wrong in a way that somebody can do something about."""

from __future__ import annotations


class FinetuneError(Exception):
    """One line: what is wrong, and what to do. What was done before it is kept and can be gone on with."""
