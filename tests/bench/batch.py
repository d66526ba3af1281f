"""What the dispatcher needs for a batch as large as providers take: `python -m tests.bench.batch memory`."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from sqlalchemy import func, select

from proxy.batching.admission import Newcomer, admit
from proxy.batching.database import Database, queue_url
from proxy.batching.tables import batches, items
from proxy.programs import Programs
from proxy.settings import Settings
from tests.batch_provider import Remote
from tests.wire.dispatched import item, settings_for

from .figures import Figure, show
from .machine import describe, rss_mb

LINES = 50_000
INPUT_BYTES = 199_000_000
RSS_MB_MAX = 200.0
WITHIN_S = 900.0
_PUT = 500


def memory(tmp: Path, seconds: float, lines: int = LINES) -> list[Figure]:
    """The dispatcher's peak while a batch goes to the provider and comes back, both ways of the same size.

    `seconds`: it fails when there are not all answers by then.
    """
    letters = INPUT_BYTES // LINES - 420
    with provider(tmp) as remote:
        settings = settings_for(
            tmp, remote, window_s=0.0, window_items_max=LINES, window_bytes_max=200_000_000, keep_s=100_000.0
        )
        with dispatcher(settings) as process:
            time.sleep(3.0)
            idle = rss_mb(psutil.Process(process.pid))
        _fill(settings, lines, letters)
        began = time.monotonic()
        with dispatcher(settings) as process:
            _until_done(settings, lines, seconds)
            took_s = time.monotonic() - began
            peak = _peak_mb(process.pid)
        state = remote.state()
    sent_mb = lines * (letters + 250) / 1e6
    assert set(state["asked"].values()) == {1}, "a line was asked twice"
    assert state["files"] == []
    return [
        Figure("dispatcher RSS before there is a queue", idle, "MB"),
        Figure(
            f"dispatcher RSS, {lines:,} lines there and back", peak, "MB", target=RSS_MB_MAX, note=f"({sent_mb:.0f} MB)"
        ),
        Figure("... lines a second", lines / took_s, "/s", note="(with the provider's own time)"),
    ]


@contextlib.contextmanager
def provider(tmp: Path) -> Iterator[Remote]:
    """`tests/batch_provider.py` as a process."""
    command = [sys.executable, "-m", "tests.batch_provider", "--dir", str(tmp / "provider")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Remote(process.stdout.readline().strip())
        finally:
            process.kill()


@contextlib.contextmanager
def dispatcher(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The process as the supervisor starts it."""
    launch = Programs().launch_dispatcher(settings)
    assert launch.first_line is not None
    with subprocess.Popen(launch.argv, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(launch.first_line(-1))
            process.stdin.flush()
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _fill(settings: Settings, lines: int, letters: int) -> None:
    database = Database.open(queue_url(settings))
    for start in range(0, lines, _PUT):
        new = [
            Newcomer(item(number, "a" * letters + f" answer with {letters} letters", deadline_s=80_000.0), None)
            for number in range(start, min(lines, start + _PUT))
        ]
        with database.transaction() as connection:
            admit(connection, new, settings.batch, time.time_ns())
    database.close()


def _until_done(settings: Settings, lines: int, within_s: float) -> None:
    database = Database.open(queue_url(settings))
    deadline = time.monotonic() + within_s
    done = -1
    while time.monotonic() < deadline:
        with database.reading() as connection:
            states = set(connection.scalars(select(batches.c.state)))
            counted = connection.scalar(select(func.count()).where(items.c.state == "done")) or 0
        if counted != done:
            done = counted
            print(f"  {done:,} of {lines:,} {sorted(states)}", file=sys.stderr, flush=True)
        if done == lines and states == {"finished"}:
            database.close()
            return
        time.sleep(1.0)
    raise SystemExit(f"only {done} of {lines} answers within {within_s:g} s")


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.batch", description=__doc__)
    parser.add_argument("name", choices=["memory"])
    parser.add_argument("--lines", type=int, default=LINES, help="fewer, for a quick look")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-batch-", ignore_cleanup_errors=True) as tmp:
        figures = memory(Path(tmp), WITHIN_S, arguments.lines)
    show(figures, describe())
    print(json.dumps({figure.name: figure.value for figure in figures}), file=sys.stderr)
    sys.exit(any(figure.ok is False for figure in figures))


if __name__ == "__main__":
    main()
