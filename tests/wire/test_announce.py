"""The dispatcher sees the live calls of the upstreams that Penstock runs batches on, as long as they are open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.batching.live.load import Gauge
from proxy.settings import Batch, Upstream
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post, proxied
from tests.wire.scripted import (
    Script,
    ScriptedUpstream,
    json_reply,
    reset_at,
    stall_before_headers,
    stall_mid_stream,
)
from tests.wire.test_transparency import ANSWER, CHAT

CALL = post("/v1/chat/completions", CHAT)


class There:
    def __init__(self, proxy: Proxied, gauge: Gauge) -> None:
        self.proxy = proxy
        self.gauge = gauge

    async def until(self, live: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.gauge.live() != live:
                await asyncio.sleep(0.005)

    async def call(self, data: bytes = CALL) -> Caller:
        caller = await Caller.connect(self.proxy)
        await caller.send(data)
        return caller


@asynccontextmanager
async def there(tmp_path: Path, script: Script, batch: str = "local", **settings: Any) -> AsyncIterator[There]:
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, upstream={"batch": batch}, **settings) as proxy,
    ):
        gauge = Gauge(tmp_path, "scripted")
        gauge.scan()
        yield There(proxy, gauge)
        gauge.close()


async def test_a_call_is_open_until_it_is_answered(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def script(request: Any, conn: Any) -> None:
        await gate.wait()
        await json_reply(ANSWER)(request, conn)

    async with there(tmp_path, script) as at:
        callers = [await at.call() for _ in range(3)]
        await at.until(3)
        gate.set()
        for caller in callers:
            assert (await caller.reply())[0] == 200
            caller.close()
        assert at.gauge.live() == 0


@pytest.mark.parametrize("script", [stall_before_headers, stall_mid_stream(["one"])])
async def test_a_call_ends_when_its_caller_leaves(tmp_path: Path, script: Script) -> None:
    async with there(tmp_path, script) as at:
        caller = await at.call()
        await at.until(1)
        caller.close()
        await at.until(0)


async def test_a_stream_is_open_until_its_end(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def script(request: Any, conn: Any) -> None:
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: a\n\n")
        await gate.wait()
        await conn.send(b"data: [DONE]\n\n")
        await conn.close()

    async with there(tmp_path, script) as at:
        caller = await at.call()
        await caller.head()
        await asyncio.sleep(0.02)
        assert at.gauge.live() == 1
        gate.set()
        await at.until(0)
        caller.close()


@pytest.mark.parametrize("stage", ["request", "body"])
async def test_a_call_that_fails_is_not_open(tmp_path: Path, stage: str) -> None:
    gate = asyncio.Event()

    async def script(request: Any, conn: Any) -> None:
        await gate.wait()
        await reset_at(stage)(request, conn)

    async with there(tmp_path, script) as at:
        caller = await at.call()
        await at.until(1)
        gate.set()
        await at.until(0)
        caller.close()


async def test_only_calls_of_that_upstream_are_seen(tmp_path: Path) -> None:
    async with ScriptedUpstream(stall_before_headers) as other:
        more = (Upstream(name="other", base_url=f"{other.url}/v1", batch="provider"),)
        async with there(tmp_path, json_reply(ANSWER), more=more) as at:
            caller = await at.call(post("/v1/chat/completions", CHAT, ("x-penstock-upstream", "other")))
            while not other.requests:
                await asyncio.sleep(0.005)
            assert at.gauge.live() == 0
            caller.close()


@pytest.mark.parametrize("batch", ["provider", "none"])
async def test_nothing_is_written_where_no_batches_run(tmp_path: Path, batch: str) -> None:
    async with there(tmp_path, json_reply(ANSWER), batch) as at:
        caller = await at.call()
        assert (await caller.reply())[0] == 200
        caller.close()
    assert not (tmp_path / "batch" / "load").exists()


async def test_nothing_is_written_when_batching_is_off(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, upstream={"batch": "local"}, batch=Batch(enabled=False)) as proxy,
    ):
        assert proxy.app.announce is None
    assert not (tmp_path / "batch").exists()
