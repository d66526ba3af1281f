"""The one way in which a command says that it cannot do what was asked."""

from __future__ import annotations


class CommandFailed(Exception):
    """One line for standard error: what is wrong and what to do. The exit status is 1."""
