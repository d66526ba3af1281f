"""The lease: at any time one dispatcher has it, and what it writes counts only as long as it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class LeaseLost(Exception):
    """Another dispatcher has taken over."""


class Lease(Protocol):
    """Held from its acquisition until it is lost."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a thread, in one transaction that counts only while the lease is held, and renew it by that.

        Raises `LeaseLost`, `QueueUnavailable`, and what `work` raises; nothing of it is committed then.
        """
