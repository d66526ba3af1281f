"""The second tier: replies on disk, shared by the workers of one machine. Never waited for on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from .entry import Entry
from .faults import Complaints, Pause
from .janitor import Janitor
from .packing import Corrupt, pack, unpack
from .shelf import Shelf, ShelfFault
from .store import StoreStats
from .threads import Threads

_READERS: Final = 2
_READS_MAX: Final = 256
"""Reads under way; beyond, a get is a miss."""
_WRITES_MAX: Final = 256
_WRITES_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of bodies that wait to be written; beyond, a put is dropped."""
_TIMEOUT_S: Final = 1.0
"""A read that takes longer is a miss: the disk hangs."""


T = TypeVar("T")


class _Found(NamedTuple):
    entry: Entry | None = None
    corrupt: bool = False
    fault: str = ""


class Disk:
    """Implements `Store`. One thread writes and two read, so that a write that waits for its lock delays no read."""

    name: Final = "disk"

    def __init__(
        self,
        folder: Path,
        bytes_max: int,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        timeout_s: float | None = None,
        tidy: bool = True,
    ) -> None:
        """`timeout_s`: of a read. `tidy=False`: leave it to other processes to keep the folder small."""
        self._clock = clock
        self._timeout_s = _TIMEOUT_S if timeout_s is None else timeout_s
        self._shelf = Shelf(folder, bytes_max)
        self._janitor = Janitor(self._shelf, folder, bytes_max, clock)
        self._reading = Threads("cache-read", _READERS, _READS_MAX)
        self._writing = Threads("cache-write", 1, _WRITES_MAX)
        self._unwritten_bytes = 0
        self._stats = StoreStats()
        self._pause = Pause(monotonic)
        self._complaints = Complaints(self.name, monotonic)
        if tidy:
            self._janitor.start()

    async def get(self, key: str) -> Entry | None:
        future = None if self._pause.on else self._reading.submit(partial(self._read, key))
        if future is None:
            self._stats.skipped += 1
            return None
        limit = asyncio.get_running_loop().call_later(self._timeout_s, _give_up, future)
        try:
            found = await future
        finally:
            limit.cancel()
        if found.fault:
            self._failed(found.fault)
            return None
        self._pause.end()
        self._stats.corrupt += found.corrupt
        if found.entry is None:
            self._stats.misses += 1
        else:
            self._stats.hits += 1
        return found.entry

    async def put(self, key: str, entry: Entry) -> None:
        future = self._write_soon(key, entry)
        if future is not None:
            await future

    def offer(self, key: str, entry: Entry) -> None:
        """`put`, without waiting for it."""
        self._write_soon(key, entry)

    async def delete(self, key: str) -> bool:
        return await self._do(partial(self._shelf.remove, key), default=False)

    async def clear(self) -> int:
        """Remove everything; returns how many entries went."""
        return await self._do(self._shelf.clear, default=0)

    async def scan(self) -> AsyncIterator[tuple[str, Entry]]:
        for key in await self._do(self._shelf.keys, default=list[str]()):
            future = self._reading.submit(partial(self._read, key))
            found = _Found() if future is None else await future
            self._stats.corrupt += found.corrupt
            if found.fault:
                self._failed(found.fault)
            if found.entry is not None:
                yield key, found.entry

    async def stats(self) -> StoreStats:
        entries = await self._do(self._shelf.count, default=0)
        volume = await self._do(self._shelf.volume, default=0)
        evicted, failed = self._janitor.removed, self._stats.failed + self._janitor.failed
        return replace(self._stats, entries=entries, bytes=volume, evicted=evicted, failed=failed)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until what was offered is written. False when it is not after `timeout_s`."""
        return await self._writing.drain(timeout_s)

    async def aclose(self) -> None:
        self._janitor.stop()
        self._reading.close()
        self._writing.close()
        self._shelf.close()

    # In the threads

    def _read(self, key: str) -> _Found:
        try:
            data = self._shelf.read(key)
            if data is None:
                return _Found()
            entry = unpack(key, data)
        except Corrupt:
            return self._discarded(key)
        except ShelfFault as fault:
            return _Found(fault=str(fault))
        return _Found(entry if entry.is_fresh(self._clock()) else None)

    def _discarded(self, key: str) -> _Found:
        try:
            self._shelf.remove(key)
        except ShelfFault as fault:
            return _Found(corrupt=True, fault=str(fault))
        return _Found(corrupt=True)

    def _write(self, key: str, entry: Entry) -> str:
        """What went wrong, or nothing."""
        try:
            self._shelf.write(key, pack(key, entry), entry.expires_ns)
        except ShelfFault as fault:
            return str(fault)
        return ""

    # On the event loop

    def _write_soon(self, key: str, entry: Entry) -> asyncio.Future[str] | None:
        size = entry.size
        if self._pause.on or self._unwritten_bytes + size > _WRITES_BYTES_MAX:
            self._stats.skipped += 1
            return None
        future = self._writing.submit(partial(self._write, key, entry))
        if future is None:
            self._stats.skipped += 1
            return None
        self._unwritten_bytes += size
        future.add_done_callback(partial(self._written, size))
        return future

    def _written(self, size: int, future: asyncio.Future[str]) -> None:
        self._unwritten_bytes -= size
        if future.cancelled():
            return
        if fault := future.result():
            self._failed(fault)
        else:
            self._stats.puts += 1

    async def _do(self, job: Callable[[], T], *, default: T) -> T:
        """For commands and statistics, and so tried also while the store pauses."""
        future = self._reading.submit(job)
        if future is None:
            return default
        try:
            return await future
        except ShelfFault as fault:
            self._failed(str(fault))
            return default

    def _failed(self, fault: str) -> None:
        self._stats.failed += 1
        self._pause.begin()
        self._complaints.say(fault)


def _give_up(future: asyncio.Future[_Found]) -> None:
    if not future.done():
        future.set_result(_Found(fault="it takes too long to read"))
