"""A disk that is really full, or read-only: the queue says so, loses nothing, and works again afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.test_spool_full_disk import IN_ITS_OWN_MOUNTS, may_mount

SCRIPT = """
import asyncio, subprocess, sys
from pathlib import Path
from proxy.batching.queue import Queue, QueueUnavailable
from proxy.settings import Server, Settings
from tests.unit.proxy.batching.an_item import OURS, item

async def main(disk):
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    queue = Queue(Settings(server=Server(data_dir=str(disk))))
    added = []
    try:
        for number in range(10_000):
            await queue.add(item(number, body=b"x" * 10_000))
            added.append(number)
    except QueueUnavailable as full:
        print(full)
    for number in added:
        assert await queue.find(f"item-{number}", OURS) is not None
    assert await queue.find(f"item-{len(added)}", OURS) is None
    ballast.unlink()
    await queue.add(item(10_001))
    await queue.aclose()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    queue = Queue(Settings(server=Server(data_dir=str(disk))))
    try:
        await queue.add(item(10_002))
    except QueueUnavailable as read_only:
        print(str(read_only).rpartition(": ")[2])
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    await queue.add(item(10_003))
    assert await queue.find("item-10001", OURS) is not None
    await queue.aclose()
    print(len(added) > 10)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(not may_mount(), reason="no right to mount a file system of one's own")
def test_a_full_disk_is_told_and_what_was_added_stays(tmp_path: Path) -> None:
    disk, script = tmp_path / "disk", tmp_path / "script.py"
    disk.mkdir()
    script.write_text(SCRIPT)
    mounted = f"mount -t tmpfs -o size=4m tmpfs {disk} && exec {sys.executable} {script} {disk}"
    done = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, mounted],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["database or disk is full", "Read-only file system", "True"]
