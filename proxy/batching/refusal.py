"""Why the queue does not take something, or cannot be asked at all."""

from __future__ import annotations


class QueueUnavailable(Exception):
    """The database does not answer as it should: down, full, read-only, too slow. One line, without credentials."""


class QueueFull(Exception):
    """As many calls, or as many bytes, wait as may."""


class KeyReused(Exception):
    """The `Idempotency-Key` of another call: the path or the body differs."""
