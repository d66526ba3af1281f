"""`Store`: what every tier of the cache can do. None of it raises: a store that fails is one that holds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from .entry import Entry


@dataclass(slots=True)
class StoreStats:
    """Of one store, as far as this process knows; counts begin with the process."""

    entries: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    puts: int = 0
    evicted: int = 0
    corrupt: int = 0
    """Entries that could not be read: each was a miss, and was removed."""
    failed: int = 0
    """Operations that the store refused, or did not finish in time."""
    skipped: int = 0
    """Operations that were not tried, because the store had just failed."""


class Store(Protocol):
    """A tier. Keys are the hex digests of `cache.key`. Entries that have expired are not given, whoever holds them."""

    @property
    def name(self) -> str:
        """memory, disk or redis."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, entry: Entry) -> None:
        """Keep `entry` until it expires or has to make room. Replaces what was there, in one step."""

    async def delete(self, key: str) -> bool:
        """True when there was one."""

    def scan(self) -> AsyncIterator[tuple[str, Entry]]:
        """All entries, in no order, for statistics and purging. What is put meanwhile may be missed."""

    async def stats(self) -> StoreStats: ...

    async def aclose(self) -> None:
        """Safe to call again."""
