"""Processes that write to the disk tier are killed at random moments. What is served afterwards is whole."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

from cache.disk import Disk
from tests.unit.cache.entries import entry, key

KEYS = 12
SIZES = (300, 20_000, 70_000, 600_000)
ROUNDS = 8

WRITER = f"""
import itertools, sys
from pathlib import Path
from cache.packing import pack
from cache.shelf import Shelf, ShelfFault
from tests.unit.cache.entries import entry, key
folder, first = Path(sys.argv[1]), int(sys.argv[2])
shelf = Shelf(folder, 1 << 30)
written = set()
for number in itertools.count(first):
    size = {SIZES}[number % 4]
    name = key(number % {KEYS})
    try:
        shelf.write(name, pack(name, entry(number, size=size)), 0)
        written.add(name)
        if number % 7 == 0:
            shelf.remove(key((number // 7) % {KEYS}))
    except ShelfFault:
        pass
    if len(written) == {KEYS}:
        print("writing", flush=True)
        written.add("said")
"""


def writer(folder: Path, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(first)], stdout=subprocess.PIPE, text=True)


async def test_a_kill_in_the_middle_of_writes_never_serves_a_torn_entry(tmp_path: Path) -> None:
    """Two writers at a time; what they wrote is the body of one number and of no other."""
    chance = random.Random(7)
    served = 0
    for turn in range(ROUNDS):
        writers = [writer(tmp_path, 1_000_000 * (2 * turn + number + 1)) for number in range(2)]
        for process in writers:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n", "each key at least once"
        await asyncio.sleep(chance.uniform(0.0, 0.15))
        for process in writers:
            process.send_signal(signal.SIGKILL)
        for process in writers:
            process.wait(60)
            assert process.stdout is not None
            process.stdout.close()
        disk = Disk(tmp_path, 1 << 30, timeout_s=60.0, tidy=False)
        for number in range(KEYS):
            found = await disk.get(key(number))
            if found is not None:
                served += 1
                origin = int(found.request_id.removeprefix("req-"))
                assert origin % KEYS == number
                assert found.body == entry(origin, size=SIZES[origin % 4]).body
        stats = await disk.stats()
        assert (stats.corrupt, stats.failed) == (0, 0)
        await disk.aclose()
    assert served > ROUNDS * KEYS / 2
