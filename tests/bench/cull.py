"""How long the event loop stands still while a full disk cache is culled: `python -m tests.bench.cull [GIGABYTES]`.

A loop that is ready and gets no processor, because others have it, stands still as well, and no cache is to blame for
that: the kernel says how long that was (`schedstat`), and it does not count.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from cache.disk import Disk
from cache.packing import pack
from cache.shelf import Shelf
from tests.unit.cache.entries import entry, key

from .figures import Figure

SIZES = (2_000, 2_000, 2_000, 60_000)
"""Of bodies: three in four are rows, the fourth is a file, which makes nearly all of the bytes."""
SECONDS = 8.0
PAUSE_MS_MAX = 5.0


@dataclass(frozen=True)
class Pauses:
    """Of the event loop, in milliseconds: by how much a timer of one millisecond came late, less what the loop's thread
    waited for a processor meanwhile."""

    p50_ms: float
    p99_ms: float
    worst_ms: float
    over_5_ms: int
    unrest_ms: float
    """The worst with those waits."""
    gets: int
    evicted: int


def fill(folder: Path, bytes_total: int) -> int:
    """Returns how many entries it took."""
    shelf = Shelf(folder, bytes_total * 2)
    bodies = {size: entry(0, size=size) for size in SIZES}
    number = written = 0
    while written < bytes_total:
        size = SIZES[number % len(SIZES)]
        shelf.write(key(number), pack(key(number), bodies[size]), 0)
        written += size
        number += 1
    shelf.close()
    return number


async def watch(disk: Disk | None, entries: int, seconds: float) -> Pauses:
    """With gets of what is there and of what is not, as callers would have them; without a disk, only the timer."""
    late: list[float] = []
    unrest_ms = 0.0
    stop = time.monotonic() + seconds
    gets = 0

    async def tick() -> None:
        nonlocal unrest_ms
        schedule = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        try:
            while time.monotonic() < stop:
                waited_ns, begun = _waited_ns(schedule), time.perf_counter()
                await asyncio.sleep(0.001)
                took_ms = (time.perf_counter() - begun - 0.001) * 1e3
                late.append(took_ms - (_waited_ns(schedule) - waited_ns) / 1e6)
                unrest_ms = max(unrest_ms, took_ms)
        finally:
            os.close(schedule)

    async def ask(step: int) -> None:
        nonlocal gets
        number = step
        while disk is not None and time.monotonic() < stop:
            number = (number * 7919 + step) % (2 * entries)
            await disk.get(key(number))
            gets += 1
            await asyncio.sleep(0.005)

    await asyncio.gather(tick(), *(ask(step) for step in range(1, 9)))
    late.sort()
    evicted = (await disk.stats()).evicted if disk is not None else 0
    over = sum(one > 5 for one in late)
    return Pauses(late[len(late) // 2], late[int(len(late) * 0.99)], late[-1], over, unrest_ms, gets, evicted)


def _waited_ns(schedule: int) -> int:
    """How long a thread was ready and had no processor, since it began."""
    return int(os.pread(schedule, 100, 0).split()[1])


def measure(folder: Path, bytes_total: int, seconds: float = SECONDS) -> dict[str, Pauses]:
    """The loop alone, with a cache that needs no culling, and with one that is a fifth too large."""
    entries = fill(folder, bytes_total)

    async def with_disk(bytes_max: int) -> Pauses:
        disk = Disk(folder, bytes_max)
        await disk.get(key(0))
        found = await watch(disk, entries, seconds)
        await disk.aclose()
        return found

    runs: dict[str, Callable[[], object]] = {
        "loop alone": lambda: watch(None, entries, seconds),
        "disk cache": lambda: with_disk(bytes_total * 2),
        "being culled": lambda: with_disk(int(bytes_total * 0.8)),
    }
    return {name: uvloop.run(run()) for name, run in runs.items()}  # type: ignore[arg-type]


def cull(tmp: Path, seconds: float) -> list[Figure]:
    """With 2 GB on disk. What the loop alone shows is the machine's own unrest."""
    found = measure(tmp, 2_000_000_000, seconds)
    alone, culled = found["loop alone"], found["being culled"]
    note = f"({culled.evicted:,} removed meanwhile)"
    return [
        Figure("longest pause of a loop alone", alone.worst_ms, "ms"),
        Figure("longest pause while 2 GB on disk are culled", culled.worst_ms, "ms", target=PAUSE_MS_MAX, note=note),
        Figure("p99 pause while culled", culled.p99_ms, "ms", alone.p99_ms, note="(baseline: a loop alone)"),
    ]


def main() -> None:
    total = int(float(sys.argv[1] if len(sys.argv) > 1 else 2) * 1e9)
    with tempfile.TemporaryDirectory(prefix="penstock-cull-") as folder:
        for name, one in measure(Path(folder), total).items():
            print(
                f"{name:<14} p50 {one.p50_ms:6.2f} ms  p99 {one.p99_ms:6.2f} ms  worst {one.worst_ms:6.2f} ms"
                f" ({one.unrest_ms:.0f} with waits for a processor)  over 5 ms {one.over_5_ms:4}  gets {one.gets:6}"
                f"  evicted {one.evicted:6}"
            )


if __name__ == "__main__":
    main()
