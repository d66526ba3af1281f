"""Writers and recorders killed at random moments: every exchange that was begun is exported exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.wire.spool_processes import FileSink, make_recorder

WRITERS = 24
AT_ONCE = 3


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed at the end of the block, wherever it is."""
    command = [sys.executable, "-m", "tests.wire.spool_processes", *arguments]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as child:
        try:
            yield child
        finally:
            child.kill()


def told(root: Path) -> tuple[set[str], set[str]]:
    """The exchanges whose begin returned, and those whose end did."""
    texts = [path.read_text() for path in root.glob("told-*")]
    # A kill may cut a line off in the middle: what follows the last line feed was not told.
    lines = [line.split() for text in texts for line in text.split("\n")[:-1]]
    return ({line[1] for line in lines if line[0] == "begun"}, {line[1] for line in lines if line[0] == "ended"})


def wait_until_it_writes(root: Path, pid: int) -> None:
    path = root / f"told-{pid}"
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < 2000:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def run_and_kill_writers(root: Path, chance: random.Random) -> None:
    with (
        process("writer", str(root), "0") as a,
        process("writer", str(root), "1") as b,
        process("writer", str(root), "2") as c,
    ):
        for child in (a, b, c):
            wait_until_it_writes(root, child.pid)
        time.sleep(chance.uniform(0.0, 0.05))


@pytest.mark.timeout(300)
def test_kill_dash_nine(tmp_path: Path) -> None:
    chance = random.Random(4100)
    kills = 0
    for _ in range(WRITERS // AT_ONCE):
        with process("recorder", str(tmp_path)) as recorder:
            run_and_kill_writers(tmp_path, chance)
            time.sleep(chance.uniform(0.0, 0.1))
            kills += recorder.poll() is None
    assert kills == WRITERS // AT_ONCE, "a recorder ended by itself"

    last = make_recorder(tmp_path)
    stop = Event()
    stop.set()
    last.run(stop)
    status = last.status()

    begun, ended = told(tmp_path)
    rows = FileSink.rows(tmp_path / "out")
    seen = Counter(request_id for request_id, _ in rows)
    outcomes = dict(rows)
    assert {request_id: count for request_id, count in seen.items() if count > 1} == {}
    assert begun - seen.keys() == set()
    assert {request_id for request_id in ended if outcomes[request_id] != "answered"} == set()
    assert len(ended) > WRITERS * 10
    assert "interrupted" in outcomes.values()
    # A writer may be killed between writing a frame and telling of it: one exchange for each.
    assert len(seen.keys() - begun) <= WRITERS
    (ledger,) = status.sinks
    assert (ledger.exported, ledger.spooled, ledger.dropped) == (len(seen), 0, {})
    assert ledger.balanced
    assert not list((tmp_path / "spool").glob("[0-9]*")), "nothing is left of the dead"
