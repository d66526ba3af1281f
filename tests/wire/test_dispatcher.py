"""Calls that wait become batches at a provider, and their answers come back: each once, to its own question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters.record import CallRecord
from proxy.batching.item import decode_headers
from proxy.batching.sealing import credential_id, encode_credential
from tests.batch_provider import BatchProvider
from tests.postgres import Postgres, postgresql

from .dispatched import KEY, dispatched, item, right, settings_for


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[BatchProvider]:
    with BatchProvider(tmp_path / "provider") as made:
        made.set(keys=[KEY])
        yield made


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""


async def test_calls_of_one_kind_share_a_batch(tmp_path: Path, provider: BatchProvider, url: str) -> None:
    async with dispatched(settings_for(tmp_path, provider, url=url), start=False) as here:
        await here.add(*(item(number) for number in range(30)))
        here.start()
        rows = await here.done(30)
        assert all(right(row) for row in rows)
        state = provider.state()
        assert state["asked"] == {f"item-{number}": 1 for number in range(30)}
        assert state["files"] == []
        (batch,) = here.batches()
        assert (batch.total, batch.completed, batch.failed, batch.status) == (30, 30, 0, "completed")
        headers = dict(decode_headers(rows[0].headers))
        assert headers[b"x-penstock-batch-id"] == batch.provider_id.encode()
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"x-request-id"].startswith(b"req_")
        assert float(headers[b"x-penstock-cost-usd"]) > 0
        records = await here.records()
    calls = {record.item_id: record for record in records if record.kind == "call"}
    (of_batch,) = [record for record in records if record.kind == "batch"]
    assert sorted(calls) == sorted(row.id for row in rows)
    assert len(records) == 31
    assert {record.batch_id for record in records} == {batch.provider_id}
    assert all(record.links == [(of_batch.trace_id, of_batch.span_id)] for record in calls.values())
    assert {record.savings.get("batch", 0.0) > 0 for record in calls.values()} == {True}


async def test_a_failed_line_is_answered_as_the_provider_did(tmp_path: Path, provider: BatchProvider) -> None:
    async with dispatched(settings_for(tmp_path, provider)) as here:
        await here.add(item(1), item(2, "fail with 422"))
        good, bad = await here.done(2)
        assert right(good)
        assert bad.status == 422
        assert json.loads(bad.reply)["error"]["code"] == "asked_for"
        records = {record.item_id: record for record in await here.records()}
    assert records["item-2"].status == 422


async def test_windows_are_closed_by_count_and_by_size(tmp_path: Path, provider: BatchProvider) -> None:
    settings = settings_for(tmp_path, provider, window_s=3600.0, window_items_max=4)
    async with dispatched(settings) as here:
        await here.add(*(item(number) for number in range(7)))
        await here.done(4)
        assert sum(row.state == "queued" for row in here.rows()) == 3
        await here.add(item(8))
        assert all(right(row) for row in await here.done(8))
        assert [row.total for row in here.batches()] == [4, 4]
    settings = settings_for(tmp_path / "other", provider, window_s=3600.0, window_bytes_max=1500)
    async with dispatched(settings) as here:
        await here.add(*(item(number) for number in range(10, 16)))
        await here.done(4)
        assert {row.total for row in here.batches()} <= {3, 4}


async def test_different_lots_do_not_mix(tmp_path: Path, provider: BatchProvider) -> None:
    async with dispatched(settings_for(tmp_path, provider)) as here:
        other = {"path": "/v1/embeddings", "endpoint": "embeddings", "body": b'{"model":"m","input":"x"}', "model": "m"}
        await here.add(item(1), item(2, lot="another", **other))
        rows = await here.done(2)
        assert [row.status for row in rows] == [200, 200]
        assert {(row.path, row.model) for row in here.batches()} == {
            ("/v1/chat/completions", "gpt-4o-mini"),
            ("/v1/embeddings", "m"),
        }


async def test_an_identical_call_waits_for_the_line_of_the_first(tmp_path: Path, provider: BatchProvider) -> None:
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        same = item(1).body
        await here.add(*(item(number, question="the same", body=same) for number in range(1, 4)), item(4))
        here.start()
        rows = await here.done(4)
        assert all(right(row) for row in rows)
        assert sum(provider.state()["asked"].values()) == 2
        records = [record for record in await here.records() if record.kind == "call"]
    assert sorted(record.item_id for record in records) == ["item-1", "item-2", "item-3", "item-4"]
    paid = [record for record in records if record.cost]
    assert len(paid) == 2
    assert sorted(record.cache_status for record in records) == ["", "", "coalesced", "coalesced"]


async def test_a_call_that_is_cancelled_in_time_is_not_sent(tmp_path: Path, provider: BatchProvider) -> None:
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1), item(2))
        await here.queue.cancel("item-1", "ours")
        here.start()
        rows = {row.id: row for row in await here.done(1)}
        assert rows["item-1"].state == "cancelled"
        assert provider.state()["asked"] == {"item-2": 1}


async def test_a_call_that_is_cancelled_too_late_is_recorded(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(hold_after=1)
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(item(1), item(2))
        here.start()
        await here.until(lambda: bool(provider.state()["asked"]), "the first line")
        await here.queue.cancel("item-1", "ours")
        provider.set(hold_after=-1)
        rows = {row.id: row for row in await here.done(1)}
        assert rows["item-1"].state == "cancelled"
        assert rows["item-1"].reply is None
        records: dict[str, CallRecord] = {record.item_id: record for record in await here.records()}
    assert records["item-1"].outcome == "abandoned"
    assert records["item-1"].cost


async def test_the_callers_own_key_is_used_and_then_forgotten(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(keys=["sk-theirs"])
    settings = settings_for(tmp_path, provider, upstream={"api_key": None})
    async with dispatched(settings) as here:
        credential = encode_credential([(b"authorization", b"Bearer sk-theirs"), (b"openai-project", b"p")])
        await here.add(item(1, credential=credential_id(credential)), credential=credential)
        (row,) = await here.done(1)
        assert right(row)
        with here.database.reading() as connection:
            assert connection.exec_driver_sql("SELECT id FROM credentials").all() == []
    assert b"sk-theirs" not in b"".join(path.read_bytes() for path in (tmp_path / "data" / "batch").glob("queue.db*"))


async def test_a_deadline_that_comes_near_ends_the_batch_and_keeps_what_it_finished(
    tmp_path: Path, provider: BatchProvider
) -> None:
    provider.set(hold_after=5)
    settings = settings_for(tmp_path, provider, escalate_before_s=900.0)
    async with dispatched(settings, start=False) as here:
        await here.add(*(item(number, deadline_s=3600.0) for number in range(40)))
        here.start()
        await here.until(lambda: len(provider.state()["asked"]) == 5, "the first lines")
        await here.later(3000.0)
        rows = await here.done(40)
        assert all(right(row) for row in rows)
        state = provider.state()
        (batch,) = state["batches"]
        assert batch["status"] == "cancelled"
        assert state["asked"] == {f"item-{number}": 1 for number in range(5)}
        assert state["live"]["flex"] == 35
        assert state["files"] == []


async def test_a_batch_that_nobody_wants_any_more_is_ended(tmp_path: Path, provider: BatchProvider) -> None:
    provider.set(hold_after=1)
    async with dispatched(settings_for(tmp_path, provider), start=False) as here:
        await here.add(*(item(number) for number in range(30)))
        here.start()
        await here.until(lambda: bool(provider.state()["asked"]), "the first line")
        for number in range(30):
            await here.queue.cancel(f"item-{number}", "ours")
        await here.settled()
        state = provider.state()
        assert [batch["status"] for batch in state["batches"]] == ["cancelled"]
        assert state["files"] == []
        assert {row.state for row in here.rows()} == {"cancelled"}
        records = [record for record in await here.records() if record.kind == "call"]
    assert {record.item_id for record in records} == set(state["asked"])
    assert {record.outcome for record in records} == {"abandoned"}
