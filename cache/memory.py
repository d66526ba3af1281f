"""The first tier: replies in the memory of one worker, the least recently used making room."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Final

from .entry import Entry
from .store import StoreStats


class Memory:
    """Implements `Store`; `peek` and `keep` do the same without a coroutine. For one event loop."""

    name: Final = "memory"

    def __init__(self, bytes_max: int, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock`: Unix time in nanoseconds."""
        self.bytes_max = bytes_max
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._stats = StoreStats()

    def peek(self, key: str, *, counted: bool = True) -> Entry | None:
        """`counted=False` looks again at what was already counted as a miss."""
        entry = self._entries.get(key)
        if entry is not None:
            if not entry.expires_ns or self._clock() < entry.expires_ns:
                self._entries.move_to_end(key)
                self._stats.hits += 1
                return entry
            self._drop(key)
        if counted:
            self._stats.misses += 1
        return None

    def keep(self, key: str, entry: Entry) -> None:
        """An entry that alone would fill the memory is not kept, and takes away what it would have replaced."""
        stats, size = self._stats, entry.size
        before = self._entries.pop(key, None)
        if before is not None:
            stats.bytes -= before.size
        if size > self.bytes_max:
            stats.skipped += 1
            return
        self._entries[key] = entry
        stats.puts += 1
        stats.bytes += size
        while stats.bytes > self.bytes_max:
            _, oldest = self._entries.popitem(last=False)
            stats.bytes -= oldest.size
            stats.evicted += 1

    def remove(self, key: str) -> bool:
        """True when there was one."""
        return self._drop(key) is not None

    def remove_where(self, fits: Callable[[str, Entry], bool]) -> int:
        """Returns how many went."""
        gone = [key for key, entry in self._entries.items() if fits(key, entry)]
        for key in gone:
            self._drop(key)
        return len(gone)

    def remove_expired(self, at_most: int = 200) -> None:
        """Look at the `at_most` least recently used: what nobody asks for would else stay until it has to make room."""
        now_ns = self._clock()
        oldest = [pair for pair, _ in zip(self._entries.items(), range(at_most), strict=False)]
        for key, entry in oldest:
            if entry.expires_ns and entry.expires_ns <= now_ns:
                self._drop(key)

    def clear(self) -> None:
        self._entries.clear()
        self._stats.bytes = 0

    async def get(self, key: str) -> Entry | None:
        return self.peek(key)

    async def put(self, key: str, entry: Entry) -> None:
        self.keep(key, entry)

    async def delete(self, key: str) -> bool:
        return self.remove(key)

    async def scan(self) -> AsyncIterator[tuple[str, Entry]]:
        for pair in self._fresh():
            yield pair

    async def stats(self) -> StoreStats:
        return replace(self._stats, entries=len(self._entries))

    async def aclose(self) -> None:
        self.clear()

    def _fresh(self) -> Iterator[tuple[str, Entry]]:
        now_ns = self._clock()
        for key, entry in list(self._entries.items()):
            if entry.is_fresh(now_ns):
                yield key, entry

    def _drop(self, key: str) -> Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._stats.bytes -= entry.size
        return entry
