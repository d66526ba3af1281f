"""Identical calls in flight: one upstream call, everybody hears all of it, whoever leaves, and one of them pays."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from exporters.record import CallRecord
from proxy.metering.complete import completer
from proxy.settings import Cache, Server, Settings
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post, proxied
from tests.wire.scripted import SSE_HEAD, Conn, Request, ScriptedUpstream, chunk, event, head
from tests.wire.test_cache import QUESTION, STREAMED, answer, recorded, serving
from tests.wire.test_cache import ask as ask_once

STREAM = json.dumps(QUESTION | {"stream": True}).encode()
WITH_USAGE = json.dumps(QUESTION | {"stream": True, "stream_options": {"include_usage": True}}).encode()
UNARY = json.dumps(QUESTION).encode()
ON = ("x-penstock-cache", "on")
EVENTS = [event(item) for item in [*STREAMED, "[DONE]"]]
WHOLE = b"".join(EVENTS)
VISIBLE = b"".join(one for one in EVENTS if b'"choices": []' not in one)


class Gate:
    """An upstream that sends its stream event by event, each when it is told to."""

    def __init__(self) -> None:
        self.steps = asyncio.Semaphore(0)
        self.begun = 0

    async def __call__(self, request: Request, conn: Conn) -> None:
        self.begun += 1
        async with asyncio.timeout(PATIENCE_S):
            await self._send(conn, json.loads(request.body).get("stream"))

    async def _send(self, conn: Conn, stream: bool) -> None:
        if not stream:
            await self.steps.acquire()
            body = json.dumps(answer()).encode()
            await conn.send(head(200, {"content-type": "application/json", "content-length": str(len(body))}) + body)
            return
        await conn.send(SSE_HEAD)
        for one in EVENTS:
            await self.steps.acquire()
            await conn.send(chunk(one))
        await conn.send(chunk(b""))

    async def begins(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.begun < count:
                await asyncio.sleep(0.005)

    def open(self, steps: int = 100) -> None:
        for _ in range(steps):
            self.steps.release()


callers: list[Caller] = []


@pytest.fixture(autouse=True)
async def hang_up() -> AsyncIterator[None]:
    """Nobody stays on the line after its test."""
    yield
    for caller in callers:
        caller.close()
    await asyncio.gather(*[caller.writer.wait_closed() for caller in callers], return_exceptions=True)
    callers.clear()


async def call(proxy: Proxied, body: bytes = STREAM, *headers: tuple[str, str]) -> Caller:
    caller = await Caller.connect(proxy)
    callers.append(caller)
    await caller.send(post("/v1/chat/completions", body, ON, *headers))
    return caller


async def rest(caller: Caller) -> bytes:
    data = b""
    while piece := await caller.chunk():
        data += piece
    return data


async def head_of(caller: Caller) -> dict[str, str]:
    status, headers = await caller.head()
    assert status == 200
    return {name.lower(): value for name, value in headers}


async def opened(proxy: Proxied, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while proxy.app.server.open != count:
            await asyncio.sleep(0.005)


async def joined(proxy: Proxied, count: int) -> None:
    """A call is open before it has looked for others to join."""
    cache = proxy.app.cache
    assert cache is not None
    async with asyncio.timeout(PATIENCE_S):
        while sum(flight.members for flight in cache._flights.values()) != count:
            await asyncio.sleep(0.005)


def statuses(records: list[CallRecord]) -> Counter[tuple[str, str]]:
    return Counter((one.outcome, one.cache_status) for one in records)


def bills(records: list[CallRecord]) -> list[float]:
    return [one.cost for one in records if one.cost]


@pytest.mark.parametrize(("body", "count"), [(UNARY, 1000), (STREAM, 200)], ids=["unary", "stream"])
async def test_a_thousand_identical_calls_are_one(tmp_path: Path, body: bytes, count: int) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream) as proxy:
        asking = await asyncio.gather(*[call(proxy, body) for _ in range(count)])
        await joined(proxy, count)
        gate.open()
        replies = await asyncio.gather(*[caller.reply() for caller in asking])
        records = await recorded(proxy, count)
    assert gate.begun == 1
    assert len({reply[2] for reply in replies}) == 1
    assert statuses(records) == {("answered", "miss"): 1, ("cached", "coalesced"): count - 1}
    assert len(bills(records)) == 1
    assert {round(one.savings["coalescing"], 10) for one in records if not one.cost} == {round(bills(records)[0], 10)}


def provided(tmp_path: Path, upstream: ScriptedUpstream, **settings: Any) -> Any:
    return proxied(tmp_path, upstream.url, upstream={"provider": "openai"}, cache=Cache(), **settings)


async def test_a_follower_joins_from_the_first_byte_and_sees_only_what_it_asked_for(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream) as proxy:
        first = await call(proxy)
        gate.open(2)
        assert (await head_of(first))["x-penstock-cache"] == "miss"
        heard = b""
        while heard.count(b"\n\n") < 2:
            heard += await first.chunk()
        second = await call(proxy)
        assert (await head_of(second))["x-penstock-cache"] == "coalesced"
        gate.open()
        assert heard + await rest(first) == VISIBLE
        assert await rest(second) == VISIBLE
        again = await call(proxy, WITH_USAGE)
        assert (await head_of(again))["x-penstock-cache"] == "hit"
        records = await recorded(proxy, 3)
    assert gate.begun == 1
    assert [one.output_tokens for one in records] == [500, 500, 500]


async def test_a_follower_who_leaves_disturbs_nobody(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream) as proxy:
        first, second = await call(proxy), None
        gate.open(1)
        await head_of(first)
        second = await call(proxy)
        await head_of(second)
        second.close()
        await opened(proxy, 1)
        gate.open()
        assert await rest(first) == VISIBLE
        records = await recorded(proxy, 2)
    assert gate.begun == 1
    assert statuses(records) == {("abandoned", "coalesced"): 1, ("answered", "miss"): 1}
    assert len(bills(records)) == 1


@pytest.mark.parametrize("steps", [0, 2], ids=["before the head", "mid-stream"])
async def test_the_leader_who_leaves_hands_over(tmp_path: Path, steps: int) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream) as proxy:
        first = await call(proxy)
        await joined(proxy, 1)
        second = await call(proxy)
        await joined(proxy, 2)
        gate.open(steps)
        if steps:
            await head_of(first)
            await first.chunk()
        first.close()
        await opened(proxy, 1)
        gate.open()
        await head_of(second)
        assert await rest(second) == VISIBLE
        third = await call(proxy)
        assert (await head_of(third))["x-penstock-cache"] == "hit"
        await rest(third)
        records = await recorded(proxy, 3)
    assert gate.begun == 1
    assert statuses(records) == {("abandoned", "coalesced"): 1, ("answered", "miss"): 1, ("cached", "hit"): 1}
    assert len(bills(records)) == 1, "the call is billed once, to whoever heard it to its end"


async def test_when_all_have_left_the_upstream_is_let_go(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream) as proxy:
        three = [await call(proxy) for _ in range(3)]
        gate.open(1)
        for caller in three:
            await head_of(caller)
        for caller in three:
            caller.close()
        await opened(proxy, 0)
        assert sum(route.pool.open for route in proxy.app.forward._routes) == 0
        gate.open()
        again = await call(proxy)
        assert (await head_of(again))["x-penstock-cache"] == "miss"
        assert await rest(again) == VISIBLE
        records = await recorded(proxy, 4)
    assert gate.begun == 2
    assert Counter(one.outcome for one in records) == {"abandoned": 3, "answered": 1}


async def test_a_break_is_everybodys_break_and_nothing_is_kept(tmp_path: Path) -> None:
    all_joined = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + chunk(EVENTS[0]))
        async with asyncio.timeout(PATIENCE_S):
            await all_joined.wait()
        await conn.reset()

    async with ScriptedUpstream(script) as upstream, provided(tmp_path, upstream) as proxy:
        three = [await call(proxy) for _ in range(3)]
        for caller in three:
            await head_of(caller)
        all_joined.set()
        for caller in three:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await rest(caller)
        records = await recorded(proxy, 3)
        all_joined.clear()
        again = await call(proxy)
        assert (await head_of(again))["x-penstock-cache"] == "miss"
        again.close()
    assert statuses(records) == {("cut", "miss"): 1, ("cut", "coalesced"): 2}
    complete = completer(Settings(server=Server(data_dir=str(tmp_path))))
    billed = {one.request_id: complete(one).cost for one in records}
    assert sorted(bool(cost) for cost in billed.values()) == [False, False, True], "what was heard of it, once"


async def test_a_caller_who_closes_at_the_last_event_leaves_a_whole_entry(tmp_path: Path) -> None:
    async def script(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + chunk(WHOLE))
        await conn.wait_closed_by_peer()  # the end of the body never comes

    async with ScriptedUpstream(script) as upstream, provided(tmp_path, upstream) as proxy:
        first = await call(proxy)
        await head_of(first)
        data = b""
        while b"[DONE]" not in data:
            data += await first.chunk()
        first.close()
        await opened(proxy, 0)
        second = await call(proxy)
        assert (await head_of(second))["x-penstock-cache"] == "hit"
        assert await rest(second) == VISIBLE


async def test_a_refusal_of_the_upstream_is_for_all_alike(tmp_path: Path) -> None:
    all_joined = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await all_joined.wait()
        body = b'{"error": {"message": "Slow down.", "type": "rate_limit"}}'
        await conn.send(head(429, {"content-type": "application/json", "content-length": str(len(body))}) + body)

    async with ScriptedUpstream(script) as upstream, provided(tmp_path, upstream) as proxy:
        three = [await call(proxy, UNARY) for _ in range(3)]
        await joined(proxy, 3)
        all_joined.set()
        replies = [await caller.reply() for caller in three]
        records = await recorded(proxy, 3)
    assert [reply[0] for reply in replies] == [429] * 3
    assert Counter(one.cache_status for one in records) == {"miss": 1, "coalesced": 2}
    assert len(upstream.requests) == 1


async def test_an_upstream_that_cannot_be_reached_fails_all(tmp_path: Path) -> None:
    async with proxied(tmp_path, "http://127.0.0.1:1", cache=Cache()) as proxy:
        three = [await call(proxy, UNARY) for _ in range(3)]
        replies = [await caller.reply() for caller in three]
        records = await recorded(proxy, 3)
    assert [reply[0] for reply in replies] == [502] * 3
    assert {one.outcome for one in records} == {"failed"}


async def test_callers_with_different_codings_do_not_share(tmp_path: Path) -> None:
    gate = Gate()
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream) as proxy:
        first = await call(proxy, UNARY, ("accept-encoding", "gzip"))
        second = await call(proxy, UNARY, ("accept-encoding", "br"))
        await gate.begins(2)
        gate.open()
        await first.reply()
        await second.reply()
    assert gate.begun == 2


async def test_without_coalescing_each_asks_for_itself(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(tmp_path, gate, Cache(coalesce=False)) as (_, _, client):
        asking = [asyncio.ensure_future(ask_once(client)) for _ in range(3)]
        await gate.begins(3)  # each has found nothing kept: the first answer must not come before
        gate.open()
        replies = await asyncio.gather(*asking)
        again = await ask_once(client)
    assert gate.begun == 3
    assert [one.headers["x-penstock-cache"] for one in (*replies, again)] == ["miss", "miss", "miss", "hit"]


async def test_a_drained_leader_does_not_pay_twice(tmp_path: Path) -> None:
    gate = Gate()
    drain = {"on_disconnect": "drain", "drain_timeout_s": PATIENCE_S}
    async with ScriptedUpstream(gate) as upstream, provided(tmp_path, upstream, server=drain) as proxy:
        first = await call(proxy)
        gate.open(1)
        await head_of(first)
        second = await call(proxy)
        await head_of(second)
        first.close()
        await opened(proxy, 1)
        gate.open()
        assert await rest(second) == VISIBLE
        records = await recorded(proxy, 2)
    assert gate.begun == 1
    assert len(bills(records)) == 1
