"""The tiers as one: what is looked for goes down until it is found, what is kept goes to all of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from .disk import Disk
from .entry import Entry
from .memory import Memory
from .purge import Purges, Selection
from .redis import Redis
from .store import StoreStats

_REMEMBERED_NS: Final = 60 * 1_000_000_000
"""A purge is held against what comes up from the tiers below for so long after it, while it makes its way there."""


class Tiers:
    """For one event loop. Nothing here raises, and nothing makes a caller wait for a store that fails."""

    def __init__(
        self,
        memory: Memory | None = None,
        disk: Disk | None = None,
        redis: Redis | None = None,
        purges: Purges | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._memory = memory
        self._disk = disk
        self._redis = redis
        self._purges = purges
        self._clock = clock
        self._recent: list[tuple[int, Selection]] = []
        self._below = disk is not None or redis is not None

    @property
    def has_lower(self) -> bool:
        """`get` may find what `peek` did not."""
        return self._below

    def peek(self, key: str) -> Entry | None:
        """What the memory of this worker has, at once."""
        return None if self._memory is None else self._memory.peek(key)

    async def get(self, key: str) -> Entry | None:
        """From the nearest tier that has it; the tiers above it have it from then on. `peek` first."""
        if self._memory is not None and (entry := self._memory.peek(key, counted=False)) is not None:
            return entry
        if not self._below:
            return None
        from_redis = False
        entry = None if self._disk is None else await self._disk.get(key)
        if entry is None and self._redis is not None:
            entry = await self._redis.get(key)
            from_redis = True
        if entry is None or self._is_purged(key, entry):
            return None
        if self._memory is not None:
            self._memory.keep(key, entry)
        if from_redis and self._disk is not None:
            self._disk.offer(key, entry)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Returns at once: memory has it, the other tiers will. Each drops what it cannot take, and counts that."""
        if self._memory is not None:
            self._memory.keep(key, entry)
        if self._disk is not None:
            self._disk.offer(key, entry)
        if self._redis is not None:
            self._redis.offer(key, entry)

    async def delete(self, key: str) -> bool:
        """From every tier, and from the memories of other workers within about a second. True when one had it."""
        return any((await self.purge(Selection(key=key))).values())

    async def purge(self, selection: Selection) -> dict[str, int]:
        """Remove what fits from every tier; returns how many entries went, by tier. Raises `OSError` when other workers
        cannot be told. What is stored meanwhile may stay.

        Workers are told before and after: before, so that none of them gives what is to go; after, because on its way
        up an entry may have passed the purge on its way down.
        """
        self._tell(selection)
        gone = {} if self._memory is None else {self._memory.name: self._forget(selection)}
        for store in (self._disk, self._redis):
            if store is not None:
                gone[store.name] = await _purged(store, selection)
        self._tell(selection)
        return gone

    def tick(self) -> None:
        """Once a second: follow what others purged, and let go of what has expired."""
        if self._purges is not None:
            for selection in self._purges.fresh():
                self._forget(selection)
        now_ns = self._clock()
        self._recent = [one for one in self._recent if now_ns - one[0] < _REMEMBERED_NS]
        if self._memory is not None:
            self._memory.remove_expired()

    async def scan(self) -> AsyncIterator[tuple[str, str, Entry]]:
        """Every entry of the shared tiers, with the tier's name: disk, then Redis."""
        for store in (self._disk, self._redis):
            if store is not None:
                async for key, entry in store.scan():
                    yield store.name, key, entry

    async def stats(self) -> list[tuple[str, StoreStats]]:
        """By tier, the nearest first."""
        stores = (self._memory, self._disk, self._redis)
        return [(store.name, await store.stats()) for store in stores if store is not None]

    async def drain(self, timeout_s: float) -> bool:
        """Wait until what was put is where it belongs. False when it is not after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        drained = True
        for store in (self._disk, self._redis):
            if store is not None:
                drained = await store.drain(max(0.0, deadline - time.monotonic())) and drained
        return drained

    async def aclose(self) -> None:
        """Quick, and safe to call again. What was not drained may be lost."""
        for store in (self._memory, self._disk, self._redis):
            if store is not None:
                await store.aclose()

    def _tell(self, selection: Selection) -> None:
        if self._purges is not None:
            self._purges.append(selection)

    def _forget(self, selection: Selection) -> int:
        self._recent.append((self._clock(), selection))
        return 0 if self._memory is None else self._memory.remove_where(selection.fits)

    def _is_purged(self, key: str, entry: Entry) -> bool:
        return any(entry.created_ns <= at_ns and one.fits(key, entry) for at_ns, one in self._recent)


async def _purged(store: Disk | Redis, selection: Selection) -> int:
    if selection.everything:
        return await store.clear()
    if selection == Selection(key=selection.key):
        return await store.delete(selection.key)
    gone = 0
    async for key, entry in store.scan():
        if selection.fits(key, entry):
            gone += await store.delete(key)
    return gone


def open_tiers(
    *,
    directory: Path | None,
    memory_bytes_max: int = 0,
    disk_bytes_max: int = 0,
    redis_url: str = "",
    redis_timeout_s: float = 0.01,
    clock: Callable[[], int] = time.time_ns,
    tidy: bool = True,
) -> Tiers:
    """The tiers below `directory`; 0 or "" leaves one out. `tidy=False` for commands, which keep nothing small.

    Nothing is opened yet: what cannot be opened later is passed over. Raises `RedisUnusable`.
    """
    return Tiers(
        Memory(memory_bytes_max, clock) if memory_bytes_max else None,
        Disk(directory, disk_bytes_max, clock, tidy=tidy) if directory is not None and disk_bytes_max else None,
        Redis(redis_url, redis_timeout_s, clock) if redis_url else None,
        Purges(directory) if directory is not None else None,
        clock,
    )
