"""What the spool's tests have in common: exchanges by number, a sink in memory, and a recorder that runs to rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

from exporters.checkpoint import SinkState
from exporters.delivery import Limits
from exporters.layout import SpoolDirectory
from exporters.ledger import LedgerSnapshot
from exporters.record import Begin, CallRecord, Complete, Feedback
from exporters.recorder import Recorder
from exporters.sink import Batch, Sink
from exporters.spool import SpoolWriter
from exporters.tail import Cursor

FOR_EVER = 100_000
"""More faults than a test has time for."""
SMALL_BATCHES = Limits(batch_records_max=2, poll_s=0.01, backoff_max_s=0.01, batch_age_max_s=60.0)
"""Which are not cut short because a test stood still."""
FEW_BYTES = Limits(batch_bytes_max=500_000, poll_s=0.01, batch_age_max_s=60.0)


def begin(number: int, **changes: Any) -> Begin:
    given: dict[str, Any] = {
        "request_id": f"req-{number}",
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "start_ns": 1_000,
        "method": "POST",
        "path": "/v1/chat/completions",
    }
    return Begin(**given | changes)


def record(number: int, body: bytes = b"{}", **changes: Any) -> CallRecord:
    given: dict[str, Any] = {
        "request_id": f"req-{number}",
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "start_ns": 1_000,
        "end_ns": 2_000,
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": "answered",
        "request_body": body,
    }
    return CallRecord(**given | changes)


def exchange(writer: SpoolWriter, *numbers: int, body: bytes = b"{}") -> None:
    for number in numbers:
        writer.begin(begin(number))
        assert writer.append(record(number, body))


def here(writer: SpoolWriter) -> SpoolDirectory:
    assert writer.directory is not None
    return writer.directory


class MemorySink:
    """Keeps what it was given, once for each token. `faults` are raised, one for each write, before it does."""

    def __init__(self, name: str = "memory", faults: Sequence[Exception | None] = ()) -> None:
        self._name = name
        self.faults = list(faults)
        self.batches: dict[str, Batch] = {}
        self.writes: list[str] = []
        self.closed = 0

    @property
    def name(self) -> str:
        return self._name

    def write(self, batch: Batch) -> None:
        self.writes.append(batch.token)
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        self.batches.setdefault(batch.token, batch)

    def close(self) -> None:
        self.closed += 1

    @property
    def records(self) -> list[CallRecord]:
        return [record for batch in self.batches.values() for record in batch.records]

    @property
    def feedback(self) -> list[Feedback]:
        return [feedback for batch in self.batches.values() for feedback in batch.feedback]

    @property
    def ids(self) -> list[str]:
        return sorted(record.request_id for record in self.records)


class Standing:
    """A sink that says it has come to one place in the spool, wherever it is, and stands there."""

    name, retries, last_error, oldest_ns = "standing", 0, "", None

    def __init__(self, writer: SpoolWriter, at: Cursor) -> None:
        self.state = SinkState(cursors={here(writer).name: at})

    def claimed(self, directory: str) -> Cursor | None:
        return None


def ids(*numbers: int) -> list[str]:
    return sorted(f"req-{number}" for number in numbers)


def as_it_is(record: CallRecord) -> CallRecord:
    return record


def recorder(root: Path, *sinks: Sink, complete: Complete = as_it_is, **settings: Any) -> Recorder:
    limits = Limits(poll_s=0.01, backoff_max_s=0.01)
    settings = {"limits": limits, "lock_timeout_s": 0.0, "drain_timeout_s": 60.0} | settings
    return Recorder(root / "spool", root / "checkpoints", sinks, complete, **settings)


def drain(root: Path, *sinks: Sink, **settings: Any) -> LedgerSnapshot:
    """Let a recorder deliver all there is and end. Checks that the ledger of every sink adds up."""
    stop = Event()
    stop.set()
    run = recorder(root, *sinks, **settings)
    run.run(stop)
    status = run.status()
    for sink in status.sinks:
        assert sink.balanced, sink
    return status
