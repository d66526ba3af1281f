"""The live export of a recorder that is killed at any moment, and on a disk that is really full."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from exporters.recorder import STATUS_FILE
from tests.wire.export_process import make_recorder, read_lines, spool
from tests.wire.test_spool_full_disk import IN_ITS_OWN_MOUNTS, may_mount

ROOT = Path(__file__).parents[2]
RECORDS = 6000


def exported(folder: Path) -> list[str]:
    return sorted(line for path in folder.glob("calls*") for line in read_lines(path))


def test_every_generation_has_one_line_whenever_its_recorder_was_killed(tmp_path: Path) -> None:
    spool(tmp_path, RECORDS)
    chance = random.Random(6)
    for _ in range(3):
        command = [sys.executable, "-m", "tests.wire.export_process", "record", str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT) as child:
            try:
                wait_until_it_writes(tmp_path)
                time.sleep(chance.uniform(0.0, 0.05))
            finally:
                child.kill()
    found = (tmp_path / "out").glob("calls*")
    assert any(path.stat().st_size for path in found), "nothing was exported before the end"
    stop = Event()
    stop.set()
    last = make_recorder(tmp_path)
    last.run(stop)
    assert exported(tmp_path / "out") == sorted(f"req-{number}" for number in range(1, RECORDS + 1))
    assert last.status().sinks[0].exported == RECORDS


def wait_until_it_writes(root: Path) -> None:
    """Ten batches, so that a file is full now and then, or all that there are."""
    deadline = time.monotonic() + 60
    for _ in range(10):
        before = state_of(root / "out")
        while state_of(root / "out") == before and not is_through(root):
            assert time.monotonic() < deadline
            time.sleep(0.001)


def is_through(root: Path) -> bool:
    path = root / "spool" / STATUS_FILE
    return path.exists() and json.loads(path.read_bytes())["sinks"][0]["exported"] == RECORDS


def state_of(folder: Path) -> bytes:
    path = folder / ".calls.jsonl.state"
    return path.read_bytes() if path.exists() else b""


@pytest.mark.skipif(not may_mount(), reason="no right to mount a file system of one's own")
def test_on_a_full_disk_nothing_is_lost_and_nothing_is_halved(tmp_path: Path) -> None:
    run = f"{sys.executable} -m tests.wire.export_process fill {tmp_path}"
    script = f"mount -t tmpfs -o size=2m tmpfs {tmp_path} && exec {run}"
    done = subprocess.run([*IN_ITS_OWN_MOUNTS, script], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
