"""Every exchange reaches every sink once, through outages, refusals and crashes at the worst moment."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import pytest

from exporters.checkpoint import SinkState
from exporters.delivery import Limits
from exporters.frames import Kind, frame
from exporters.record import CallRecord, Feedback, decode_record, encode
from exporters.recorder import STATUS_FILE, RecorderBusy
from exporters.sink import Batch, BatchRefused, SinkUnavailable
from exporters.spool import SpoolWriter
from tests.unit.exporters.spooled import (
    FEW_BYTES,
    FOR_EVER,
    SMALL_BATCHES,
    MemorySink,
    begin,
    drain,
    exchange,
    here,
    ids,
    record,
    recorder,
)


class Killed(BaseException):
    """Ends a recorder as a kill would: nothing of it runs any more."""


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    made = SpoolWriter(tmp_path / "spool", 0, segment_bytes_max=4000)
    yield made
    made.close()


def checkpoint(root: Path, sink: str = "memory") -> SinkState:
    return msgspec.json.decode((root / "checkpoints" / f"sink-{sink}.json").read_bytes(), type=SinkState)


def test_delivers_completed_records_and_feedback(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1, 2)
    writer.feedback(Feedback(id="f", at_ns=1, request_id="req-1", score=1.0))
    sink = MemorySink()

    def complete(one: CallRecord) -> CallRecord:
        return msgspec.structs.replace(one, request_body=None, input_tokens=7)

    status = drain(tmp_path, sink, complete=complete)
    assert [(one.request_id, one.input_tokens, one.request_body) for one in sink.records] == [
        ("req-1", 7, None),
        ("req-2", 7, None),
    ]
    assert [one.id for one in sink.feedback] == ["f"]
    assert sink.closed == 1
    (ledger,) = status.sinks
    assert (status.accepted, status.feedback) == (2, 1)
    assert (ledger.exported, ledger.feedback_exported, ledger.spooled, ledger.lag_s) == (2, 1, 0, 0.0)


def test_goes_on_where_it_was(tmp_path: Path, writer: SpoolWriter) -> None:
    sink = MemorySink()
    for number in range(5):
        exchange(writer, number, body=b"x" * 1500)
        status = drain(tmp_path, sink)
        assert (sink.ids, status.accepted) == (ids(*range(number + 1)), number + 1)
    assert here(writer).segments() == [2], "what was delivered is deleted, but not what is being written"


def test_all_directories_in_one_batch(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path / "spool", slot) for slot in range(5)]
    for number, one in enumerate(writers):
        exchange(one, number, number + 10)
    sink = MemorySink()
    drain(tmp_path, sink)
    assert sink.ids == ids(*range(5), *range(10, 15))
    assert len(sink.writes) == 1
    for one in writers:
        one.close()
    drain(tmp_path, sink)
    assert not list((tmp_path / "spool").glob("[0-9]*")), "finished and delivered directories go"


def test_batches_are_bounded(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, *range(9))
    sink = MemorySink()
    drain(tmp_path, sink, limits=SMALL_BATCHES)
    assert [len(batch.records) for batch in sink.batches.values()] == [2, 2, 2, 2, 1]
    assert len(set(sink.writes)) == 5


def test_a_batch_is_bounded_in_bytes(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, *range(4), body=b"x" * 300_000)
    sink = MemorySink()
    drain(tmp_path, sink, limits=FEW_BYTES)
    assert [len(batch.records) for batch in sink.batches.values()] == [2, 2]


def test_a_batch_is_bounded_in_bytes_over_many_directories(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path / "spool", slot) for slot in range(4)]
    for number, one in enumerate(writers):
        exchange(one, number, body=b"x" * 300_000)
    sink = MemorySink()
    drain(tmp_path, sink, limits=FEW_BYTES)
    assert [len(batch.records) for batch in sink.batches.values()] == [2, 2]
    for one in writers:
        one.close()


def test_a_directory_that_had_no_turn_keeps_its_place(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path / "spool", slot) for slot in range(4)]
    sink = MemorySink()
    for turn in range(3):
        for slot, one in enumerate(writers):
            exchange(one, 10 * turn + slot)
        drain(tmp_path, sink, limits=SMALL_BATCHES)
    assert sink.ids == ids(*(10 * turn + slot for turn in range(3) for slot in range(4)))
    for one in writers:
        one.close()


def test_unavailable_is_tried_again_with_the_same_token(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1)
    stop = Event()

    class Away(MemorySink):
        def write(self, batch: Batch) -> None:
            super().write(batch)
            stop.set()

    sink = Away(faults=[SinkUnavailable("down"), SinkUnavailable("down"), None])
    run = recorder(tmp_path, sink)
    run.run(stop)
    assert sink.ids == ids(1)
    assert len(sink.writes) == 3
    assert len(set(sink.writes)) == 1
    (ledger,) = run.status().sinks
    assert (ledger.retries, ledger.last_error, ledger.balanced) == (2, "", True)


def test_an_outage_at_the_end_leaves_the_intent(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1, 2)
    away = MemorySink(faults=[SinkUnavailable("The database is down.")] * FOR_EVER)
    (ledger,) = drain(tmp_path, away).sinks
    assert (ledger.exported, ledger.spooled, ledger.last_error) == (0, 2, "The database is down.")
    exchange(writer, 3)
    back = MemorySink()
    drain(tmp_path, back)
    assert back.ids == ids(1, 2, 3)
    assert back.writes[0] == away.writes[0], "the same batch under the same token"


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_a_crash_around_a_write_doubles_nothing(tmp_path: Path, writer: SpoolWriter, moment: str) -> None:
    exchange(writer, 1, 2)
    writer.feedback(Feedback(id="f", at_ns=1))
    exchange(writer, 3)
    place = MemorySink()

    class Crashing(MemorySink):
        def write(self, batch: Batch) -> None:
            if moment == "after the write":
                place.write(batch)
            raise Killed

    crash_in_threads(tmp_path, Crashing())
    assert checkpoint(tmp_path).intent is not None
    exchange(writer, 4, 5)
    status = drain(tmp_path, place)
    assert place.ids == ids(1, 2, 3, 4, 5)
    assert len(place.feedback) == 1
    assert status.sinks[0].exported == 5


def crash_in_threads(root: Path, sink: MemorySink) -> None:
    stop = Event()
    stop.set()
    run = recorder(root, sink)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("threading.excepthook", lambda args: None)
        run.run(stop)


def test_refused_records_are_found_by_halving_and_set_aside(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, *range(11))
    bad = {"req-3", "req-8"}

    class Picky(MemorySink):
        def write(self, batch: Batch) -> None:
            self.writes.append(batch.token)
            if bad & {one.request_id for one in batch.records}:
                raise BatchRefused("No.")
            self.batches[batch.token] = batch

    sink = Picky()
    (ledger,) = drain(tmp_path, sink).sinks
    assert sink.ids == ids(0, 1, 2, 4, 5, 6, 7, 9, 10)
    assert ledger.dropped == {"refused": 2}
    assert len(set(sink.writes)) == len(sink.writes), "every part has a token of its own"
    aside = list((tmp_path / "spool" / "refused" / "memory").iterdir())
    assert {decode_record(path.read_bytes()).request_id for path in aside} == bad


def test_a_defective_sink_is_tried_again_and_its_words_are_not_logged(
    tmp_path: Path, writer: SpoolWriter, caplog: pytest.LogCaptureFixture
) -> None:
    exchange(writer, 1)
    sink, other = MemorySink(faults=[ValueError("sk-secret")] * FOR_EVER), MemorySink("other")
    status = drain(tmp_path, sink, other)
    assert other.ids == ids(1)
    assert "sk-secret" not in caplog.text
    assert "ValueError" in caplog.text
    assert "ValueError" in status.sinks[0].last_error
    sink.faults = []
    drain(tmp_path, sink, other)
    assert (sink.ids, other.ids) == (ids(1), ids(1))


def test_a_record_that_cannot_be_completed_goes_on(
    tmp_path: Path, writer: SpoolWriter, caplog: pytest.LogCaptureFixture
) -> None:
    exchange(writer, 1)

    def defect(one: CallRecord) -> CallRecord:
        raise KeyError("a caller's text")

    sink = MemorySink()
    assert drain(tmp_path, sink, complete=defect).uncompleted == 1
    assert sink.records == [record(1)]
    assert "a caller's text" not in caplog.text


@pytest.mark.parametrize("payload", [encode(record(2, version=99)), b"\x92\xa5req-2\x01"])
def test_what_cannot_be_read_is_set_aside_and_counted(tmp_path: Path, writer: SpoolWriter, payload: bytes) -> None:
    exchange(writer, 1)
    writer.begin(begin(2))
    with open(here(writer).segment(1), "ab") as file:
        file.write(frame(here(writer).marker, Kind.RECORD, payload))
    sink, other = MemorySink(), MemorySink("other")
    for ledger in drain(tmp_path, sink, other).sinks:
        assert (ledger.accepted, ledger.exported, ledger.dropped) == (2, 1, {"undecodable": 1})
    (aside,) = (tmp_path / "spool" / "refused" / "memory").iterdir()
    assert aside.read_bytes() == payload


def test_a_new_sink_starts_at_the_oldest_data(tmp_path: Path, writer: SpoolWriter) -> None:
    first, second = MemorySink(), MemorySink("second")
    exchange(writer, 1, 2, body=b"x" * 4000)
    drain(tmp_path, first)
    exchange(writer, 3, 4)
    status = drain(tmp_path, first, second)
    assert second.ids == ids(3, 4)
    assert [ledger.accepted for ledger in status.sinks] == [4, 2]


def test_a_sink_that_is_left_out_holds_nothing_and_may_come_back(tmp_path: Path, writer: SpoolWriter) -> None:
    first, second = MemorySink(), MemorySink("second")
    exchange(writer, 1)
    drain(tmp_path, first, second)
    exchange(writer, 2, body=b"x" * 4000)
    exchange(writer, 3)
    drain(tmp_path, first)
    assert here(writer).segments() == [2]
    status = drain(tmp_path, first, second)
    assert second.ids == ids(1, 3)
    assert [ledger.accepted for ledger in status.sinks] == [3, 2]


def test_a_checkpoint_saved_on_a_full_disk(
    tmp_path: Path, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MemorySink()
    exchange(writer, 1)
    drain(tmp_path, sink)
    exchange(writer, 2)
    write = Path.write_bytes

    def refuse(path: Path, data: bytes) -> int:
        if path.name.endswith(".json.tmp"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        drain(tmp_path, sink)
    assert sink.ids == ids(1, 2)
    assert checkpoint(tmp_path).exported == 2
    drain(tmp_path, sink)
    assert len(sink.writes) == 2


def test_an_unreadable_checkpoint_is_kept_aside(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "sink-memory.json").write_text("{")
    sink = MemorySink()
    drain(tmp_path, sink)
    assert sink.ids == ids(1)
    assert (tmp_path / "checkpoints" / "sink-memory.unreadable").read_text() == "{"


@pytest.mark.parametrize("lost", ["sink-memory.json", "ledger.json"])
def test_an_account_that_is_lost_begins_anew(tmp_path: Path, writer: SpoolWriter, lost: str) -> None:
    sink = MemorySink()
    exchange(writer, 1, body=b"x" * 4000)
    drain(tmp_path, sink)
    (tmp_path / "checkpoints" / lost).unlink()
    exchange(writer, 2)
    status = drain(tmp_path, sink)
    assert sink.ids == ids(1, 2)
    assert status.sinks[0].spooled == 0


def test_only_one_recorder(tmp_path: Path) -> None:
    stop = Event()
    first = recorder(tmp_path, MemorySink(), lock_timeout_s=30.0)
    thread = Thread(target=first.run, args=(stop,))
    thread.start()
    try:
        while not (tmp_path / "checkpoints" / "ledger.json").exists():
            stop.wait(0.01)
        with pytest.raises(RecorderBusy, match="Another recorder"):
            recorder(tmp_path, MemorySink()).run(Event())
    finally:
        stop.set()
        thread.join()


def test_two_sinks_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        recorder(tmp_path, MemorySink(), MemorySink())


def test_a_running_recorder_delivers_and_tells(tmp_path: Path, writer: SpoolWriter) -> None:
    """The same without stopping: what is written while it runs arrives, and the status file says so."""
    arrived = Event()

    class Telling(MemorySink):
        def write(self, batch: Batch) -> None:
            super().write(batch)
            if len(self.records) == 30:
                arrived.set()

    stop = Event()
    run = recorder(tmp_path, Telling(), limits=Limits(batch_age_max_s=0.01, poll_s=0.01), sweep_s=0.02)
    assert run.status().accepted == 0
    thread = Thread(target=run.run, args=(stop,))
    thread.start()
    try:
        for number in range(30):
            exchange(writer, number, body=b"x" * 900)
            assert all(ledger.balanced for ledger in run.status().sinks)
        assert arrived.wait(60)
    finally:
        stop.set()
        thread.join()
    told = msgspec.json.decode((tmp_path / "spool" / STATUS_FILE).read_bytes())
    assert (told["accepted"], told["sinks"][0]["exported"]) == (30, 30)
    assert run.last_status.sinks[0].exported == 30


def test_logs_at_most_once_a_minute(tmp_path: Path, writer: SpoolWriter, caplog: pytest.LogCaptureFixture) -> None:
    exchange(writer, *range(8))
    caplog.set_level(logging.WARNING)

    class Refusing(MemorySink):
        def write(self, batch: Batch) -> None:
            raise BatchRefused("No.")

    (ledger,) = drain(tmp_path, Refusing()).sinks
    assert ledger.dropped == {"refused": 8}
    assert caplog.text.count("refuses a record") == 1
    assert os.listdir(tmp_path / "spool" / "refused" / "memory")
