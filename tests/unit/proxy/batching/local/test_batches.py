"""A local batch from its file to its results, whatever happens on the way. On SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from exporters.record import decode_record
from proxy.batching.database import Database
from proxy.batching.local import files
from proxy.batching.tables import batches, credentials, file_chunks, items, outbox
from proxy.batching.tables import files as files_table
from proxy.settings import Settings
from tests.unit.proxy.batching.a_local_batch import CONTEXT, LINES, OWNER, LocalBatch, shrink, waiting


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def assert_whole(batch: LocalBatch, lines: list[dict[str, Any]]) -> None:
    """Every line was asked once, answered once, and is in its place."""
    row = batch.row
    assert batch.asked == [each["custom_id"] for each in lines]
    done = batch.lines(row.output_file_id)
    failed = batch.lines(row.error_file_id)
    wanted = [each for each in lines if each["body"]["messages"][0]["content"] != "400"]
    assert [each["custom_id"] for each in done] == [each["custom_id"] for each in wanted]
    for each, asked in zip(done, wanted, strict=True):
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["said"] == asked["body"]["messages"][0]["content"]
    assert {each["response"]["status_code"] for each in failed} == {400}
    assert (row.total, row.completed, row.failed, row.dropped) == (len(lines), len(done), len(failed), 0)
    assert len(done) + len(failed) == len(lines)
    assert msgspec.json.decode(row.usage)["input_tokens"] == 2 * len(lines)
    assert batch.count(items) == 0
    kinds = [record.kind for record in records(batch)]
    assert sorted(kinds) == ["batch", *["call"] * len(lines)]


def records(batch: LocalBatch) -> list[Any]:
    with batch.database.reading() as connection:
        return [decode_record(row.record) for row in connection.execute(outbox.select()).all()]


async def test_a_batch_runs_to_its_end(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, *LINES, b"\n")
    row = await batch.until("finished", most=2)
    assert (row.status, row.model, row.errors) == ("completed", "tiny", "")
    assert row.created_ns <= row.in_progress_ns <= row.finalizing_ns <= row.completed_ns
    assert_whole(batch, LINES)
    [record] = [record for record in records(batch) if record.kind == "batch"]
    assert (record.batch_id, record.parameters["total"], record.parent_span_id) == ("batch_1", 23, CONTEXT.span_id)
    assert waiting(database) == (0, 0)


@pytest.mark.parametrize("lost", ["after", "lost"])
async def test_a_dispatcher_that_dies_in_each_of_its_transactions_loses_and_doubles_nothing(
    settings: Settings, database: Database, lost: str
) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    batch.lease.kills = lambda number: "before" if number % 2 else lost if number % 4 else "after"
    row = await batch.until("finished", most=3)
    assert row.status == "completed"
    assert batch.lease.number > 40
    assert_whole(batch, LINES)


async def test_a_file_with_faults_fails_the_batch_before_anything_is_asked(
    settings: Settings, database: Database
) -> None:
    batch = LocalBatch.begun(settings, database, LINES[0], b"{\n", LINES[0], credential="key")
    row = await batch.until("finished")
    assert (row.status, row.failed_ns > 0, row.total, batch.asked) == ("failed", True, 0, [])
    assert [(each["line"], each["code"]) for each in json.loads(row.errors)] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
    ]
    assert [(each.kind, each.outcome) for each in records(batch)] == [("batch", "failed")]
    assert batch.count(credentials) == 0


async def test_a_cancelled_batch_keeps_what_was_answered_and_asks_no_more(
    settings: Settings, database: Database
) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    await batch.until("running", most=0)
    batch.answer(7)
    batch.change(status="cancelling", cancelling_ns=1)
    row = await batch.until("finished", most=0)
    assert (row.status, row.completed, row.failed, row.dropped, row.total) == ("cancelled", 6, 1, 16, 23)
    assert [each["custom_id"] for each in batch.lines(row.output_file_id)] == [f"line {n}" for n in (0, 1, 3, 4, 5, 6)]
    errors = batch.lines(row.error_file_id)
    assert [each["custom_id"] for each in errors] == ["line 2", *(f"line {n}" for n in range(7, 23))]
    assert {each["error"]["code"] for each in errors[1:]} == {"batch_cancelled"}
    assert waiting(database) == (0, 0)


async def test_a_batch_that_takes_too_long_keeps_what_was_answered(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    await batch.until("running", most=0)
    batch.answer(2)
    batch.change(expires_ns=1)
    row = await batch.until("finished", most=0)
    assert (row.status, row.completed, row.failed, row.dropped) == ("expired", 2, 0, 21)
    assert {each["error"]["code"] for each in batch.lines(row.error_file_id)} == {"batch_expired"}
    assert row.expired_ns > 0


async def test_a_batch_waits_until_there_is_room_for_it(settings: Settings, database: Database) -> None:
    limits = msgspec.structs.replace(settings.batch, queue_items_max=30)
    settings = msgspec.structs.replace(settings, batch=limits)
    first = LocalBatch.begun(settings, database, *LINES)
    await first.until("loading", most=0)
    second = LocalBatch.begun(settings, database, *LINES[:8], id="batch_2")
    third = LocalBatch.begun(settings, database, *LINES[:2], id="batch_3")
    for _ in range(20):
        await first.step()
    assert [each.row.state for each in (first, second, third)] == ["running", "validated", "validated"]
    assert second.row.status == "validating"
    first.answer(2)
    await second.until("finished")
    await third.until("finished")
    assert [second.row.completed, third.row.completed] == [6, 2]


async def test_what_expired_is_swept_up(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    row = await batch.until("finished")
    with database.transaction() as connection:
        connection.execute(files_table.update().values(expires_ns=1))
        files.begin(connection, OWNER, "file-given-up", files.UPLOADING, 1)
        files.append(connection, "file-given-up", 0, b"abc")
        files.append(connection, "file-nobody-knows", 0, b"abc")
    batch.change(created_ns=1)
    batch.part = None  # which looks at what is over at once
    for _ in range(20):
        await batch.step()
    assert (row.status, batch.count(batches), batch.count(files_table), batch.count(file_chunks)) == (
        "completed",
        0,
        0,
        0,
    )
