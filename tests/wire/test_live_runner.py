"""The items that no provider's batch answers, asked of a real upstream through the real queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from exporters.record import CallRecord, decode_record
from proxy.batching.admission import Newcomer, admit
from proxy.batching.database import Database, queue_url
from proxy.batching.finishing import cancel
from proxy.batching.item import Answer, Context, NewItem, decode_headers, encode_context
from proxy.batching.lease import HeldLease, LeaseHolder
from proxy.batching.live.load import Load
from proxy.batching.live.runner import LiveRunner
from proxy.batching.records import ItemRecords
from proxy.batching.refusal import QueueUnavailable
from proxy.batching.sealing import Sealer, credential_id, encode_credential
from proxy.batching.tables import batches, items, outbox
from proxy.settings import Batch, Price, Server, Settings, Upstream
from tests.wire.proxied import PATIENCE_S
from tests.wire.scripted import Conn, Request, Script, ScriptedUpstream, in_turn, json_reply
from tests.wire.test_transparency import ANSWER

NOW_NS = 1_795_400_978_000_000_000
SECOND = 1_000_000_000
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
REPLY = ANSWER | {"usage": USAGE, "service_tier": "default"}


class Scene:
    """A queue, an upstream and a runner. Its wall clock stands still unless it is moved."""

    def __init__(self, tmp_path: Path, url: str, batch: str, options: dict[str, Any]) -> None:
        self.now_ns = NOW_NS
        self.tmp_path = tmp_path
        upstream = Upstream(name="main", base_url=f"{url}/v1", batch=batch)  # type: ignore[arg-type]
        self.settings = Settings(
            server=Server(data_dir=str(tmp_path)),
            upstreams=(upstream,),
            batch=Batch(**options),
            prices={"gpt-5*": Price(input=2.0, output=10.0, tiers={"flex": 0.5, "batch": 0.5})},
        )
        self.database = Database.open(queue_url(self.settings))
        self.sealer = Sealer.of(self.settings)
        self.holder = LeaseHolder(self.database)
        self.kept: list[str] = []
        self.runner = self.make()
        self.lease: HeldLease | None = None

    def make(self) -> LiveRunner:
        records = ItemRecords(self.settings)

        async def keep(row: Row[Any], answer: Answer) -> None:
            self.kept.append(row.id)

        return LiveRunner(
            self.settings, self.database, self.sealer, records, keep=keep, clock=lambda: self.now_ns, sleep=_no_time
        )

    def put(self, *numbers: int, key: str = "", **changes: Any) -> None:
        credential = encode_credential([(b"Authorization", key.encode())]) if key else b""
        sealed = self.sealer.seal(credential) if credential else None
        new = [_item(number, **{"credential": credential_id(credential)} | changes) for number in numbers]
        with self.database.transaction() as connection:
            admit(connection, [Newcomer(one, sealed) for one in new], Batch(), NOW_NS)

    def change(self, number: int, **values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(update(items).where(items.c.id == f"item-{number}").values(**values))

    async def step(self) -> float:
        if self.lease is None:
            self.lease = await self.holder.acquire()
        assert self.lease is not None
        return await self.runner.step(self.lease)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(min(await self.step(), 0.01))

    async def until_done(self, count: int) -> None:
        await self.until(lambda: self.states().count("done") == count)

    def rows(self) -> list[Row[Any]]:
        with self.database.reading() as connection:
            return list(connection.execute(select(items).order_by(items.c.created_ns)).all())

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def records(self) -> list[CallRecord]:
        with self.database.reading() as connection:
            return [decode_record(data) for data in connection.scalars(select(outbox.c.record).order_by(outbox.c.id))]


async def _no_time(seconds: float) -> None:
    await asyncio.sleep(0)


def _item(number: int, **changes: Any) -> NewItem:
    context = Context(
        request_id=f"{number:032x}", trace_id=f"{number:032x}", span_id=f"{number:016x}", start_ns=NOW_NS,
        provider="openai", tags={"team": "a"}, headers=[(b"OpenAI-Beta", b"x")],
    )  # fmt: skip
    body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": f"question {number}"}]}).encode()
    given: dict[str, Any] = {
        "id": f"item-{number}", "mode": "async", "scope": "ours", "upstream": "main", "endpoint": "chat",
        "path": "/v1/chat/completions", "model": "gpt-5", "body": body, "created_ns": NOW_NS + number,
        "deadline_ns": NOW_NS + 86_400 * SECOND, "lot": "lot", "context": encode_context(context),
    }  # fmt: skip
    return NewItem(**given | changes)


@asynccontextmanager
async def scene(tmp_path: Path, script: Script, batch: str = "local", **options: Any) -> AsyncIterator[Any]:
    async with ScriptedUpstream(script) as upstream:
        made = Scene(tmp_path, upstream.url, batch, options)
        try:
            yield made, upstream
        finally:
            await made.runner.aclose()
            await made.holder.release()
            made.database.close()


def asked(upstream: ScriptedUpstream) -> list[str]:
    return [request.json()["messages"][0]["content"] for request in upstream.requests]


async def test_items_of_a_local_upstream_are_asked_in_order_and_recorded_once(tmp_path: Path) -> None:
    async with scene(tmp_path, json_reply(REPLY), local_concurrency=1) as (there, upstream):
        there.put(3, 1, 2, key="Bearer sk-caller")
        await there.until_done(3)
        assert asked(upstream) == ["question 1", "question 2", "question 3"]
        request = upstream.requests[0]
        assert (request.method, request.target) == ("POST", "/v1/chat/completions")
        assert request.header("authorization") == "Bearer sk-caller"
        assert request.header("openai-beta") == "x"
        row = there.rows()[0]
        assert (row.status, json.loads(row.reply), row.credential) == (200, REPLY, "")
        headers = dict(decode_headers(row.headers))
        assert headers[b"x-penstock-tokens"].startswith(b"input=1000")
        assert float(headers[b"x-penstock-cost-usd"]) == pytest.approx(0.003)
        records = there.records()
        assert [record.item_id for record in records] == ["item-1", "item-2", "item-3"]
        assert {(record.kind, record.outcome, record.cost, len(record.attempts)) for record in records} == {
            ("call", "answered", 0.003, 1)
        }
        assert records[0].tags == {"team": "a"}
        assert there.kept == ["item-1", "item-2", "item-3"]


class Held:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, request: Request, conn: Conn) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        await self.go.wait()
        self.open -= 1
        await json_reply(REPLY)(request, conn)


async def test_no_more_are_asked_at_a_time_than_may_be(tmp_path: Path) -> None:
    held = Held()
    async with scene(tmp_path, held, local_concurrency=3) as (there, _):
        there.put(*range(9))
        await there.until(lambda: held.open == 3)
        await there.step()
        assert there.states().count("running") == 3
        held.go.set()
        await there.until_done(9)
        assert held.most == 3


async def test_live_calls_displace_items_until_they_are_gone(tmp_path: Path) -> None:
    held = Held()
    async with scene(tmp_path, held, local_concurrency=4) as (there, _):
        load = Load.open(tmp_path, "main")
        for _ in range(3):
            load.enter()
        there.put(*range(9))
        await there.until(lambda: held.open == 1)
        for _ in range(3):
            await there.step()
        assert (held.open, there.states().count("running")) == (1, 1)
        for _ in range(3):
            load.leave()
        await there.until(lambda: held.open == 4)
        load.close()


async def test_an_item_whose_deadline_is_near_is_asked_live_first_at_the_flex_tier(tmp_path: Path) -> None:
    no_room = json_reply({"error": {"code": "resource_unavailable"}}, 429)
    script = in_turn(no_room, json_reply(REPLY | {"service_tier": "flex"}))
    async with scene(tmp_path, script, "provider") as (there, upstream):
        there.put(1)
        there.put(2, deadline_ns=NOW_NS + 10 * 86_400 * SECOND)
        await there.step()
        assert there.states() == ["queued", "queued"]
        there.now_ns = NOW_NS + (86_400 - 600) * SECOND
        there.runner._escalate_at_s = 0.0
        await there.until_done(1)
        assert [request.json().get("service_tier") for request in upstream.requests] == ["flex", "flex"]
        assert there.states() == ["done", "queued"]
        (record,) = there.records()
        assert (record.service_tier, record.cost) == ("flex", pytest.approx(0.0015))
        assert [attempt.status for attempt in record.attempts] == [429, 200]


async def test_items_of_a_provider_wait_for_its_batch(tmp_path: Path) -> None:
    async with scene(tmp_path, json_reply(REPLY), "provider") as (there, upstream):
        there.put(1)
        for _ in range(3):
            assert await there.step() > 0
        assert (there.states(), upstream.requests) == (["queued"], [])


async def test_lines_of_a_local_batch_say_which_they_are_of(tmp_path: Path) -> None:
    async with scene(tmp_path, json_reply(REPLY)) as (there, _):
        there.put(1, mode="file")
        there.change(1, batch_id="batch_1")
        context = encode_context(Context(request_id="r", trace_id="f" * 32, span_id="e" * 16, start_ns=NOW_NS))
        with there.database.transaction() as connection:
            batch = {"id": "batch_1", "kind": "local", "state": "running", "upstream": "main", "context": context}
            connection.execute(batches.insert().values(**batch))
        await there.until_done(1)
        (record,) = there.records()
        assert (record.batch_id, [trace for trace, _ in record.links]) == ("batch_1", ["f" * 32])


async def test_an_item_that_is_cancelled_while_it_is_asked_is_recorded_as_abandoned(tmp_path: Path) -> None:
    held = Held()
    async with scene(tmp_path, held) as (there, _):
        there.put(1)
        await there.until(lambda: held.open == 1)
        with there.database.transaction() as connection:
            cancel(connection, ["item-1"], now_ns=NOW_NS, keep_s=60)
        held.go.set()
        await there.until(lambda: bool(there.records()))
        (record,) = there.records()
        assert (there.states(), record.outcome, record.input_tokens) == (["cancelled"], "abandoned", 1000)


async def test_an_item_that_cannot_be_asked_is_answered_with_why(tmp_path: Path) -> None:
    async with scene(tmp_path, json_reply(REPLY)) as (there, upstream):
        there.put(1, upstream="removed")
        there.put(2, credential="lost")
        there.change(1, tier="flex")
        await there.until_done(2)
        said = [json.loads(row.reply)["error"]["message"] for row in there.rows()]
        assert ("removed" in said[0], "key" in said[1], upstream.requests) == (True, True, [])
        assert [record.outcome for record in there.records()] == ["failed", "failed"]


async def test_a_new_lease_asks_again_what_was_being_asked_and_answers_it_once(tmp_path: Path) -> None:
    held = Held()
    async with scene(tmp_path, held) as (there, upstream):
        there.put(1)
        await there.until(lambda: held.open == 1)
        there.lease = await there.holder.acquire()
        await there.until(lambda: len(upstream.requests) == 2)
        async with asyncio.timeout(PATIENCE_S):
            await upstream.requests[0].closed.wait()
        held.go.set()
        await there.until_done(1)
        assert len(upstream.requests) == 2
        assert len(there.records()) == 1


async def test_a_database_that_fails_loses_no_answer(tmp_path: Path) -> None:
    async with scene(tmp_path, json_reply(REPLY), local_concurrency=2) as (there, upstream):
        await there.step()
        there.put(1, 2, 3)
        with _failing_commits(there.database, 2) as failed:
            async with asyncio.timeout(PATIENCE_S):
                while there.states() != ["done"] * 3:
                    try:
                        await there.step()
                    except QueueUnavailable:
                        await asyncio.sleep(0.01)
        assert failed == [1, 0]
        assert sorted(record.item_id for record in there.records()) == ["item-1", "item-2", "item-3"]
        assert {row.attempts for row in there.rows()} == {0}
        assert len(upstream.requests) == 3


@contextmanager
def _failing_commits(database: Database, count: int) -> Iterator[list[int]]:
    """The next write transactions are committed, but nobody hears of it."""
    original = database.transaction
    left = count
    failed: list[int] = []

    @contextmanager
    def transaction() -> Iterator[Any]:
        nonlocal left
        with original() as connection:
            yield connection
        if left:
            left -= 1
            failed.append(left)
            raise QueueUnavailable("the connection broke")

    database.transaction = transaction  # type: ignore[method-assign]
    try:
        yield failed
    finally:
        database.transaction = original  # type: ignore[method-assign]
