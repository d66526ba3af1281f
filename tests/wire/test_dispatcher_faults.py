"""A provider that fails, loses, doubles or forgets: each call that waits is answered once, and bought once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch_provider import BatchProvider

from .dispatched import KEY, dispatched, item, right, settings_for


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[BatchProvider]:
    with BatchProvider(tmp_path / "provider") as made:
        made.set(keys=[KEY])
        yield made


async def test_a_line_that_is_missing_is_told_so(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(drop_lines=1)
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1), item(2))
        here.start()
        rows = await here.done(2)
        assert sorted(row.status for row in rows) == [200, 502]
        (missing,) = [row for row in rows if row.status == 502]
        assert json.loads(missing.reply)["error"]["code"] == "batch_item_missing"
        (record,) = [record for record in await here.records() if record.item_id == missing.id]
    assert record.outcome == "failed"


async def test_doubled_and_foreign_lines_change_nothing(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(duplicate_lines=2, alien_lines=3)
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1), item(2), item(3, id="alien-0", upstream="elsewhere"))
        here.start()
        elsewhere, *rows = sorted(await here.done(2), key=lambda row: row.id)
        assert all(right(row) for row in rows)
        assert (elsewhere.id, elsewhere.state) == ("alien-0", "queued")
        records = await here.records()
    assert sorted(record.item_id for record in records) == ["", "item-1", "item-2"]


async def test_what_an_expired_batch_finished_is_kept(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(expire_after=3)
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(*(item(number) for number in range(8)))
        here.start()
        rows = await here.done(8)
        assert all(right(row) for row in rows)
        state = provider.state()
        assert set(state["asked"].values()) == {1}
        assert state["batches_made"] == 2
        assert state["files"] == []


async def test_lines_that_are_refused_leave_the_batch_and_the_others_are_sent_again(
    tmp_path: Path, provider: BatchProvider
) -> None:
    provider.set(fail_lines=[2])
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(*(item(number, created_ns=number + 1) for number in range(3)))
        here.start()
        rows = await here.done(3)
        assert [row.status for row in rows] == [200, 400, 200]
        assert json.loads(rows[1].reply)["error"]["message"] == "This line cannot be run."
        assert provider.state()["files"] == []


async def test_a_batch_that_always_fails_is_given_up(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(fail_next=100, fail_code="quota_gone")
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1))
        here.start()
        (row,) = await here.done(1)
        assert row.status == 400
        assert json.loads(row.reply)["error"]["code"] == "quota_gone"
        assert provider.state()["batches_made"] == 3
        assert provider.state()["files"] == []


async def test_a_full_provider_is_asked_again_for_as_long_as_there_is_time(
    tmp_path: Path, provider: BatchProvider
) -> None:
    provider.set(fail_next=3)
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1))
        here.start()
        (row,) = await here.done(1)
        assert right(row)


@pytest.mark.parametrize("where", ["POST /v1/files", "POST /v1/batches"])
async def test_a_refusal_is_the_answer_of_all(tmp_path: Path, provider: BatchProvider, where: str) -> None:
    provider.set(refuse={where: [403]})
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1), item(2))
        here.start()
        rows = await here.done(2)
        assert [row.status for row in rows] == [403, 403]
        assert json.loads(rows[0].reply)["error"]["message"] == "The test wants this."
        assert provider.state()["files"] == []


@pytest.mark.parametrize(
    "where", ["POST /v1/files", "POST /v1/batches", "GET /v1/batches/*", "GET /v1/files/*/content"]
)
@pytest.mark.parametrize("trouble", [500, "before", "after"])
async def test_a_provider_in_trouble_is_asked_again(
    tmp_path: Path, provider: BatchProvider, where: str, trouble: int | str
) -> None:
    """However a step fails, and whether or not it was done all the same: each call is bought once."""
    if isinstance(trouble, int):
        provider.set(refuse={where: [trouble] * 2})
    else:
        provider.set(**{f"cut_{trouble}": {where: 2}})
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1), item(2))
        here.start()
        assert all(right(row) for row in await here.done(2))
        state = provider.state()
        assert state["asked"] == {"item-1": 1, "item-2": 1}
        assert (state["files_made"], state["batches_made"]) == (1, 1)
        assert state["files"] == []


async def test_a_batch_that_was_made_unseen_is_ended_when_its_calls_no_longer_wait(
    tmp_path: Path, provider: BatchProvider
) -> None:
    """The reply to its creation was lost, nobody could look for it, and then the deadline was near."""
    provider.set(cut_after={"POST /v1/batches": 1}, refuse={"GET /v1/batches": [500] * 9999}, hold_after=1)
    async with dispatched(settings_for(tmp_path, provider, escalate_before_s=900.0), start=False) as here:
        await here.add(*(item(number, deadline_s=3600.0) for number in range(10)))
        here.start()
        await here.until(lambda: provider.state()["batches_made"] == 1, "the batch")
        await here.later(3000.0)
        await here.until(lambda: all(row.state == "done" for row in here.rows()), "the answers")
        provider.set(refuse={})
        rows = await here.done(10)
        assert all(right(row) for row in rows)
        state = provider.state()
        assert [batch["status"] for batch in state["batches"]] == ["cancelled"]
        assert state["files"] == []
        assert sum(state["live"].values()) == 10


async def test_a_file_that_was_uploaded_unseen_is_removed(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(cut_after={"POST /v1/files": 1}, refuse={"GET /v1/files": [500] * 9999})
    async with dispatched(settings_for(tmp_path, provider, escalate_before_s=900.0)) as here:
        await here.add(item(1, deadline_s=3600.0))
        await here.until(lambda: provider.state()["files_made"] == 1, "the file")
        await here.later(3000.0)
        await here.until(lambda: any(row.status == "late" for row in here.batches()), "that it is late")
        provider.set(refuse={})
        await here.done(1)
        state = provider.state()
        assert (state["files_made"], state["batches_made"], state["files"]) == (1, 0, [])
