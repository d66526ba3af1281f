"""What else may become of a local batch, and what its items and files are like."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from proxy.batching import finishing
from proxy.batching.database import Database
from proxy.batching.item import decode_context
from proxy.batching.local import files
from proxy.batching.tables import credentials, items
from proxy.batching.tables import files as files_table
from proxy.settings import Server, Settings
from tests.unit.proxy.batching.a_local_batch import CONTEXT, LINES, OWNER, LocalBatch, S, line, shrink, waiting


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """On one database: what is asked of it here is asked of both elsewhere."""
    return Settings(server=Server(data_dir=str(tmp_path)))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


async def test_items_carry_what_they_are_asked_and_recorded_with(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, line("a"), credential="key", created_ns=7 * S)
    await batch.until("running", most=0)
    with database.reading() as connection:
        row = connection.execute(items.select()).one()
    assert (row.mode, row.state, row.scope, row.upstream, row.credential) == ("file", "queued", "mine", "tiny", "key")
    assert (row.endpoint, row.path, row.model) == ("chat", "/v1/chat/completions", "tiny")
    assert (row.batch_id, row.position, row.custom_id) == ("batch_1", 0, "a")
    assert (row.created_ns, row.deadline_ns) == (7 * S, batch.row.expires_ns)
    assert json.loads(row.body) == line("a")["body"]
    assert decode_context(row.context) == CONTEXT
    assert waiting(database) == (1, len(row.body))


async def test_the_callers_key_is_forgotten_with_the_batch(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, line("a"), credential="key")
    await batch.until("running", most=0)
    assert batch.count(credentials) == 1
    await batch.until("finished")
    assert batch.count(credentials) == 0


async def test_what_is_being_asked_is_waited_for(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, line("a"), line("b"))
    await batch.until("running", most=0)
    with database.transaction() as connection:
        connection.execute(items.update().where(items.c.custom_id == "a").values(state="running"))
    batch.change(status="cancelling")
    for _ in range(10):
        await batch.step()
    assert (batch.row.state, batch.row.dropped) == ("running", 1)
    with database.transaction() as connection:
        connection.execute(items.update().where(items.c.custom_id == "a").values(state="queued"))
    batch.answer()
    row = await batch.until("finished", most=0)
    assert (row.status, row.completed, row.dropped) == ("cancelled", 1, 1)


@pytest.mark.parametrize("state", ["validating", "validated", "loading"])
async def test_a_batch_may_be_cancelled_before_it_runs(settings: Settings, database: Database, state: str) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    await batch.until(state, most=0)
    batch.change(status="cancelling", cancelling_ns=1)
    row = await batch.until("finished")
    total = 0 if state == "validating" else 23
    assert (row.status, row.total, row.completed) == ("cancelled", total, 0)
    assert batch.asked == []
    assert len(batch.lines(row.error_file_id) if total else []) == total
    assert waiting(database) == (0, 0)


@pytest.mark.parametrize("state", ["validating", "validated", "loading"])
async def test_a_batch_may_expire_before_it_runs(settings: Settings, database: Database, state: str) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    await batch.until(state, most=0)
    batch.change(expires_ns=1)
    row = await batch.until("finished")
    assert (row.status, row.completed, batch.asked) == ("expired", 0, [])
    assert row.dropped == row.total == 23


@pytest.mark.parametrize("limit", [{"queue_items_max": 30}, {"queue_bytes_max": 2000}])
async def test_what_is_being_loaded_has_its_room_already(
    settings: Settings, database: Database, limit: dict[str, int]
) -> None:
    settings = msgspec.structs.replace(settings, batch=msgspec.structs.replace(settings.batch, **limit))
    first = LocalBatch.begun(settings, database, *LINES)
    second = LocalBatch.begun(settings, database, *LINES[:8], id="batch_2")
    for _ in range(3):
        await first.step()
    assert 2000 - first.row.items_bytes < second.row.items_bytes < 2000
    assert (first.row.state, first.row.loaded < 22, second.row.state) == ("loading", True, "validated")
    await first.until("running", most=0)
    await first.step()
    assert second.row.state == "validated"
    first.answer()
    assert (await second.until("finished")).completed == 6


@pytest.mark.parametrize("limit", [{"queue_items_max": 22}, {"queue_bytes_max": 500}])
async def test_a_batch_that_would_never_fit_fails(
    settings: Settings, database: Database, limit: dict[str, int]
) -> None:
    limits = msgspec.structs.replace(settings.batch, **limit)
    batch = LocalBatch.begun(msgspec.structs.replace(settings, batch=limits), database, *LINES)
    row = await batch.until("finished")
    assert (row.status, json.loads(row.errors)[0]["code"]) == ("failed", "batch_too_large")


async def test_an_item_that_was_cancelled_alone_is_an_error_of_a_completed_batch(
    settings: Settings, database: Database
) -> None:
    batch = LocalBatch.begun(settings, database, line("a"), line("b"))
    await batch.until("running", most=0)
    with database.transaction() as connection:
        wanted = connection.scalars(items.select().with_only_columns(items.c.id).where(items.c.custom_id == "a")).all()
        finishing.cancel(connection, wanted, now_ns=1, keep_s=60)
    row = await batch.until("finished")
    assert (row.status, row.completed, row.failed, row.dropped) == ("completed", 1, 0, 1)
    assert [each["error"]["code"] for each in batch.lines(row.error_file_id)] == ["batch_cancelled"]


async def test_what_was_cancelled_while_it_was_asked_is_recorded_all_the_same(
    settings: Settings, database: Database
) -> None:
    batch = LocalBatch.begun(settings, database, line("a"), line("b"))
    await batch.until("running", most=0)
    with database.transaction() as connection:
        connection.execute(items.update().where(items.c.custom_id == "a").values(state="running"))
        [row] = connection.execute(items.select().where(items.c.custom_id == "a")).all()
        finishing.cancel(connection, [row.id], now_ns=1, keep_s=60)
    for _ in range(30):
        await batch.step()
        batch.answer()
    assert (batch.row.state, batch.row.status, batch.count(items)) == ("clearing", "completed", 1)
    with database.transaction() as connection:
        connection.execute(items.update().values(keep_until_ns=1))
    await batch.until("finished")
    assert batch.count(items) == 0


async def test_a_batch_whose_lines_are_all_answered_does_not_expire(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, line("a"))
    await batch.until("running", most=0)
    batch.answer()
    batch.change(expires_ns=1)
    assert (await batch.until("finished")).status == "completed"


async def test_lines_of_a_providers_batches_are_not_counted(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, line("a"), line("b"))
    await batch.until("running", most=0)
    with database.transaction() as connection:
        connection.execute(items.update().where(items.c.custom_id == "a").values(mode="async"))
    batch.answer()
    for _ in range(5):
        await batch.step()
    assert (batch.row.state, batch.row.completed) == ("running", 1)


async def test_files_appear_when_they_are_whole(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, *LINES, output_expires_s=3600)
    await batch.until("finalizing")
    while not batch.row.output_file_id:
        await batch.step()
    with database.reading() as connection:
        assert files.find(connection, OWNER, batch.row.output_file_id, 0) is None
    row = await batch.until("finished")
    with database.reading() as connection:
        found = files.find(connection, OWNER, row.output_file_id, 0)
    assert found is not None
    assert (found["filename"], found["purpose"]) == ("batch_1_output.jsonl", "batch_output")
    assert found["expires_ns"] == found["created_ns"] + 3600 * S


async def test_an_idle_part_writes_nothing(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, line("a"))
    await batch.until("running", most=0)
    await batch.step()
    before = batch.lease.number
    assert await batch.step() > 0
    assert batch.lease.number == before
    await batch.until("finished")
    assert await batch.step() > 0


async def test_the_input_of_a_running_batch_is_not_swept_up(settings: Settings, database: Database) -> None:
    batch = LocalBatch.begun(settings, database, *LINES)
    await batch.until("loading", most=0)
    with database.transaction() as connection:
        connection.execute(files_table.update().values(expires_ns=1))
        with pytest.raises(files.InUse):
            files.remove(connection, batch.row.input_file_id)
    batch.part = None
    row = await batch.until("finished")
    assert row.completed + row.failed == 23
