"""Batches that callers make themselves: untouched on their way, and each line a record of its own, once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from sqlalchemy import func, select

from proxy.batching.provider.provider import MARK
from proxy.batching.records import batch_span
from proxy.batching.tables import credentials
from proxy.settings import Batch
from tests.postgres import Postgres, postgresql
from tests.wire.own_batches import KEY, Unfenced, asked, own_batches
from tests.wire.proxied import PATIENCE_S


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgresql() as server:
        yield server


async def test_each_line_is_recorded_once_at_half_price_below_its_batch(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        data = asked(450)
        made = await own.make(data.replace(b"number 3", b"fail with 422, number 3"), metadata={"team": "blue"})
        await own.watch()
        (row,) = own.rows()
        calls = own.calls()
        assert len(calls) == 450
        good, bad = calls["number 7"], calls["fail with 422, number 3"]
        assert (good.status, good.outcome, good.batch_id, good.provider) == (200, "answered", made.id, "openai")
        assert good.cost is not None
        assert good.savings == {"batch": pytest.approx(good.cost)}
        assert (bad.status, bad.cost) == (422, None)
        assert {record.tags["team"] for record in calls.values()} == {"blue"}
        assert {tuple(record.links) for record in calls.values()} == {(tuple(batch_span(row)),)}
        summary = own.records()[-1]
        assert (summary.kind, summary.batch_id, summary.request_model) == ("batch", made.id, "gpt-4o-mini")
        failed = sum(record.status == 422 for record in calls.values())
        assert summary.parameters == {
            "status": "completed", "endpoint": "/v1/chat/completions", "total": 450, "completed": 450 - failed,
            "failed": failed,
        }  # fmt: skip
        assert [record.kind for record in own.records()].count("batch") == 1
        created = next(record for record in own.proxy.records() if record.path == "/v1/batches")
        assert (summary.trace_id, summary.parent_span_id) == (created.trace_id, created.span_id)


async def test_the_reply_is_the_providers_byte_for_byte(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        made = await own.make(asked(1))
        await own.ended(made.id)
        direct = openai.AsyncOpenAI(base_url=own.provider.base_url, api_key=KEY)
        there = await direct.batches.with_raw_response.retrieve(made.id)
        here = await own.client.batches.with_raw_response.retrieve(made.id)
        assert here.content == there.content
        assert here.headers["content-length"] == there.headers["content-length"]
        await direct.close()


async def test_the_callers_key_is_sealed_and_goes_with_the_batch(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        await own.make(asked(2))
        count = select(func.count()).select_from(credentials)
        with own.database.reading() as connection:
            assert connection.scalar(count) == 1
        kept = b"".join(path.read_bytes() for path in (tmp_path / "data" / "batch").iterdir() if path.is_file())
        assert KEY.encode() not in kept
        await own.watch()
        with own.database.reading() as connection:
            assert connection.scalar(count) == 0
        assert not list((tmp_path / "data" / "batch" / "watching").iterdir()), "what was asked is kept nowhere"


async def test_a_batch_is_noted_once_however_often_it_is_asked_for_and_never_again(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        made = await own.make(asked(2))
        for _ in range(3):
            await own.client.batches.retrieve(made.id)
        assert len(own.rows()) == 1
        await own.watch()
        recorded = len(own.records())
        await own.client.batches.retrieve(made.id)
        assert [row.state for row in own.rows()] == ["recorded"]
        await own.watch()
        assert len(own.records()) == recorded == 3


async def test_a_batch_that_is_first_seen_when_it_is_asked_for_is_recorded_too(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        direct = openai.AsyncOpenAI(base_url=own.provider.base_url, api_key=KEY)
        file = await direct.files.create(file=("in.jsonl", asked(3)), purpose="batch")
        made = await direct.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        await direct.close()
        await own.ended(made.id)
        assert own.rows() == []
        await own.client.batches.retrieve(made.id)
        await own.watch()
        assert len(own.calls()) == 3


async def test_of_an_expired_batch_the_lines_that_ran_are_recorded(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        own.provider.set(expire_after=2)
        await own.make(asked(5))
        await own.watch()
        assert sorted(own.calls()) == ["number 0", "number 1"]
        assert (own.records()[-1].outcome, own.records()[-1].error_type) == ("cut", "expired")


async def test_a_cancelled_batch_keeps_what_it_did(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        own.provider.set(lines_per_s=5.0)
        made = await own.make(asked(200))
        async with asyncio.timeout(PATIENCE_S):
            while not own.provider.state()["asked"]:
                await asyncio.sleep(0.01)
        await own.client.batches.cancel(made.id)
        await own.watch()
        ran = own.provider.state()["asked"]
        assert 0 < len(ran) < 200
        assert len(own.calls()) == len(ran)
        assert own.records()[-1].outcome == "abandoned"


async def test_what_a_provider_says_twice_is_recorded_once(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        own.provider.set(duplicate_lines=3)
        await own.make(asked(5))
        await own.watch()
        assert len(own.calls()) == 5


async def test_two_who_record_at_once_record_each_line_once(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        own.provider.set(fail_next=1)
        for lines in (1, 450):  # The first fails as a whole, so there is nothing to do but to end it.
            await own.ended((await own.make(asked(lines))).id)
        await asyncio.gather(*(own.work(Unfenced(own.database)) for _ in range(2)))
        assert len(own.calls()) == 450
        assert [record.kind for record in own.records()].count("batch") == 2


async def test_a_batch_whose_files_are_gone_is_said_once_and_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_batches(tmp_path) as own:
        made = await own.make(asked(2))
        await own.ended(made.id)
        for file in own.provider.state()["files"]:
            await own.client.files.delete(file["id"])
        with caplog.at_level(logging.WARNING):
            await own.watch()
            await own.watch()
        assert [record.kind for record in own.records()] == ["batch"]
        assert len([text for text in caplog.messages if "cannot be read" in text]) == 2, "input and output, once each"


async def test_what_penstock_made_itself_is_not_watched(tmp_path: Path) -> None:
    async with own_batches(tmp_path) as own:
        await own.make(asked(1), metadata={MARK: "b1"})
        assert own.rows() == []


async def test_nobody_watches_when_it_is_not_wanted(tmp_path: Path) -> None:
    async with own_batches(tmp_path, batch=Batch(record_own=False)) as own:
        await own.make(asked(1))
        assert own.rows() == []


async def test_an_upstream_with_a_key_of_its_own_needs_none_in_the_queue(tmp_path: Path) -> None:
    async with own_batches(tmp_path, api_key="sk-configured") as own:
        await own.make(asked(2))
        assert [row.credential for row in own.rows()] == [""]
        await own.watch()
        assert len(own.calls()) == 2


async def test_a_queue_that_is_down_costs_nobody_a_reply(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    down = Batch(url="postgresql://nobody@127.0.0.1:9/none", poll_s=0.1)
    async with own_batches(tmp_path, batch=down) as own:
        with caplog.at_level(logging.WARNING):
            made = await own.make(asked(1))
            assert (await own.client.batches.retrieve(made.id)).id == made.id
    assert len([text for text in caplog.messages if "is not watched" in text]) == 1, "at most once a minute"
    assert KEY not in caplog.text


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_dispatcher_killed_at_each_of_its_transactions_loses_no_line_and_doubles_none(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, committed: bool
) -> None:
    url = request.getfixturevalue("postgres").new() if kind == "postgresql" else ""
    async with own_batches(tmp_path, batch=Batch(url=url, poll_s=0.1, poll_max_s=0.1)) as own:
        made = await own.make(asked(620).replace(b"number 3", b"fail with 422, number 3"))
        await own.ended(made.id)
        lives = 0
        while await own.watch(lives % 3 + 1, committed=committed):
            lives += 1
            assert lives < 40
        assert lives >= 2
        assert len(own.calls()) == 620
        assert [record.kind for record in own.records()].count("batch") == 1
