"""The processes that `test_spool_kill.py` kills, and the one that fills a disk; run with `python -m`."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from pathlib import Path
from threading import Event

import msgspec

from exporters.delivery import Limits
from exporters.files import replace
from exporters.ledger import LedgerSnapshot
from exporters.record import Begin, CallRecord
from exporters.recorder import Recorder
from exporters.sink import Batch
from exporters.spool import SpoolWriter

WRITTEN_MAX = 3000


class FileSink:
    """One file for each token, put in place in one step."""

    name = "file"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def write(self, batch: Batch) -> None:
        rows = [(record.request_id, record.outcome) for record in batch.records]
        replace(self._directory / batch.token, msgspec.json.encode(rows))

    def close(self) -> None: ...

    @staticmethod
    def rows(directory: Path) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for path in directory.iterdir():
            if not path.name.startswith("."):
                found += msgspec.json.decode(path.read_bytes(), type=list[tuple[str, str]])
        return found


def make_recorder(root: Path, out: Path | None = None) -> Recorder:
    """One that is quick to notice, so that a kill meets it in the middle of something."""
    return Recorder(
        root / "spool",
        root / "checkpoints",
        [FileSink(out or root / "out")],
        lambda record: record,
        limits=Limits(batch_records_max=200, batch_age_max_s=0.005, poll_s=0.002),
        sweep_s=0.01,
        drain_timeout_s=100.0,
    )


def mark(request_id: str) -> Begin:
    return Begin(request_id=request_id, trace_id="", span_id="", start_ns=1, method="POST", path="/v1/responses")


def record(request_id: str, size: int) -> CallRecord:
    return CallRecord(
        request_id=request_id,
        trace_id="",
        span_id="",
        start_ns=1,
        end_ns=2,
        method="POST",
        path="/v1/responses",
        outcome="answered",
        response_body=os.urandom(size),
    )


def write(root: Path, slot: int) -> None:
    """Exchanges as fast as they go, five open at a time, each step told in a file once it has returned.

    No more than a recorder gets through even if whoever is to kill this stands still.
    """
    writer = SpoolWriter(root / "spool", slot, segment_bytes_max=20_000)
    told = os.open(root / f"told-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    still_open: deque[str] = deque()
    for number in range(1, WRITTEN_MAX + 1):
        request_id = f"{os.getpid()}-{number}"
        assert writer.begin(mark(request_id))
        os.write(told, f"begun {request_id}\n".encode())
        still_open.append(request_id)
        if len(still_open) == 5:
            request_id = still_open.popleft()
            assert writer.append(record(request_id, number % 3000))
            os.write(told, f"ended {request_id}\n".encode())
    signal.pause()


def fill(root: Path, out: Path) -> None:
    """Write 8 MB on a disk of 2 MB, export what fits, write again. Prints what `append` said was written."""
    now_s = 0.0
    writer = SpoolWriter(root / "spool", 0, segment_bytes_max=200_000, monotonic=lambda: now_s)
    export(root, out)
    for number in range(2000):
        writer.begin(mark(f"{number}"))
        if writer.append(record(f"{number}", 4000)):
            print(number)  # noqa: T201
    assert writer.dropped["disk_full"] > 1000
    export(root, out)
    now_s += 100.0
    writer.tick()
    writer.begin(mark("after"))
    assert writer.append(record("after", 100))
    writer.close()
    status = export(root, out)
    assert (status.accepted, status.sinks[0].spooled) == (2001, 0), status


def export(root: Path, out: Path) -> LedgerSnapshot:
    stop = Event()
    stop.set()
    recorder = make_recorder(root, out)
    recorder.run(stop)
    status = recorder.status()
    assert status.sinks[0].balanced, status
    return status


def main() -> None:
    if sys.argv[1] == "writer":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "full":
        fill(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        stop = Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        make_recorder(Path(sys.argv[2])).run(stop)


if __name__ == "__main__":
    main()
