"""Callers that leave, or stop taking, and workers that stop: recorded for what it was, and nothing stays open."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

import proxy.stages.record as record_stage
from exporters.spool import SpoolWriter
from proxy.app import build
from proxy.exchange import Exchange
from proxy.http import answer
from proxy.reply import Reply
from proxy.settings import Server, Settings
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post, proxied
from tests.wire.scripted import (
    Conn,
    Request,
    ScriptedUpstream,
    chunk,
    head,
    json_reply,
    stall_before_headers,
    stall_mid_stream,
)
from tests.wire.test_streams import DELTAS, STREAM
from tests.wire.test_transparency import ANSWER, CHAT
from tests.wire.test_websocket import HEADERS, realtime

DRAIN = {"on_disconnect": "drain", "drain_timeout_s": PATIENCE_S}


async def stop(proxy: Proxied) -> None:
    """What a worker does when its time to drain is over."""
    proxy.app.record.stopping = True
    await proxy.app.server.shutdown(0.05)
    await asyncio.sleep(0.05)


def upstream_connections(proxy: Proxied) -> int:
    return sum(route.pool.open for route in proxy.app.forward._routes)


@pytest.mark.parametrize("mode", ["cancel", "drain"])
async def test_a_stream_that_a_stopping_worker_cuts_is_interrupted(tmp_path: Path, mode: str) -> None:
    async with (
        ScriptedUpstream(stall_mid_stream(DELTAS)) as upstream,
        proxied(tmp_path, upstream.url, server={"on_disconnect": mode}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        await caller.head()
        await caller.chunk()
        await stop(proxy)
        record = await proxy.record()
        assert upstream_connections(proxy) == 0
        caller.close()
    assert (record.outcome, record.error_type) == ("interrupted", "worker_stopped")


async def test_a_websocket_that_a_stopping_worker_cuts_is_interrupted(tmp_path: Path) -> None:
    async def wait(socket: web.WebSocketResponse, request: web.Request) -> None:
        async for _ in socket:
            pass

    async with realtime(wait) as (url, _), proxied(tmp_path, url) as proxy, aiohttp.ClientSession() as session:
        ws = await session.ws_connect(f"{proxy.url}/realtime", headers=HEADERS)
        await stop(proxy)
        record = await proxy.record()
        await ws.close()
    assert (record.outcome, record.error_type) == ("interrupted", "worker_stopped")


async def test_a_drained_reply_that_breaks_is_abandoned_all_the_same(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        await conn.reset()

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url, server=DRAIN) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT))
        while not upstream.requests:
            await asyncio.sleep(0.01)
        caller.close()
        while proxy.app.server.open:
            await asyncio.sleep(0.01)
        left.set()
        record = await proxy.record()
    assert (record.outcome, record.error_type) == ("abandoned", "client_disconnected")


async def test_an_upload_whose_caller_leaves_is_abandoned_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ScriptedUpstream(stall_before_headers, read_body=False) as upstream,
        proxied(tmp_path, upstream.url, server=DRAIN) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome of it")
        while not upstream.requests:
            await asyncio.sleep(0.01)
        caller.close()
        record = await proxy.record()
    assert record.outcome == "abandoned"
    assert [one.getMessage() for one in caplog.records if one.name.startswith(("proxy.", "aiohttp."))] == []


async def test_a_reply_that_comes_as_its_caller_leaves_is_let_go_of(tmp_path: Path) -> None:
    """In the same turn of the loop: nobody else would ever close it."""

    class Body:
        closed = False

        async def read(self) -> bytes:
            return b""

        async def aclose(self) -> None:
            self.closed = True

    body = Body()
    spool = SpoolWriter(tmp_path / "spool", 0)
    app = build(Settings(server=Server(data_dir=str(tmp_path), **DRAIN)), spool, lambda wanted: None)  # type: ignore[arg-type]
    asked = asyncio.Event()
    answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    exchange = app.server._exchange(make_mocked_request("POST", "/v1/chat/completions"))

    async def inner(exchange: Exchange) -> Reply:
        asked.set()
        return await answered

    call = asyncio.ensure_future(app.record(exchange, inner))
    await asked.wait()
    answered.set_result(Reply(200, [], body))
    asyncio.get_running_loop().call_soon(call.cancel)
    with pytest.raises(asyncio.CancelledError):
        await call
    await app.record.drained(PATIENCE_S)
    await app.aclose()
    assert body.closed


async def test_only_so_many_replies_are_drained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_stage, "DRAINS_MAX", 1)
    async with (
        ScriptedUpstream(stall_before_headers) as upstream,
        proxied(tmp_path, upstream.url, server=DRAIN) as proxy,
    ):
        for expected in (1, 2):
            caller = await Caller.connect(proxy)
            await caller.send(post("/v1/chat/completions", CHAT))
            while len(upstream.requests) < expected:
                await asyncio.sleep(0.01)
            caller.close()
            while proxy.app.server.open:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE_S):
            while not proxy.records():
                await asyncio.sleep(0.01)
        assert upstream_connections(proxy) == 1


async def test_a_caller_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    async def endless(request: Request, conn: Conn) -> None:
        await conn.send(head(200, [("Transfer-Encoding", "chunked")]))
        while True:
            await conn.send(chunk(b"x" * 65536))

    async with ScriptedUpstream(endless) as upstream, proxied(tmp_path, upstream.url) as proxy:
        proxy.app.server.limits.stalled_s = 0.1
        with socket.create_connection(("127.0.0.1", proxy.port)) as raw:
            raw.sendall(b"GET /v1/files/f/content HTTP/1.1\r\nHost: x\r\n\r\n")
            record = await proxy.record()
    assert record.outcome == "abandoned"


class Patience:
    """In place of the loop that looks whether a caller took anything: it looks when it is told to."""

    def __init__(self) -> None:
        self.looks: dict[asyncio.Handle, int] = {}
        """With what was left to be taken the last time."""

    def call_later(self, _: float, look: Callable[[int], None], left: int) -> asyncio.Handle:
        timer = asyncio.Handle(look, [left], asyncio.get_running_loop())
        self.looks = {timer: left}
        return timer

    def is_over(self, left: int) -> bool:
        """The time is over, but not before something was taken. False: nothing was, or there is nothing to wait for."""
        for timer, before in self.looks.items():
            if left < before and not timer.cancelled():
                timer._run()
                return True
        return False


async def test_a_caller_that_takes_slowly_gets_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, patience = b"x" * 20_000_000, Patience()
    monkeypatch.setattr(answer, "asyncio", SimpleNamespace(get_running_loop=lambda: patience))
    fields = [("Content-Length", str(len(body))), ("Content-Type", "text/plain")]

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(head(200, fields) + body)

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=65536)
        caller = Caller(reader, writer)
        await caller.send(post("/v1/chat/completions", CHAT))
        await caller.head()
        (connection,) = proxy.app.server.connections
        got = looks = 0
        while got < len(body):
            got += len(await caller.reader.read(400_000))
            assert connection.transport is not None
            looks += patience.is_over(connection.transport.get_write_buffer_size())
        caller.close()
    assert got == len(body)
    assert looks > 3


async def test_pipelined_calls_are_answered_in_turn(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT) * 100)
        for _ in range(100):
            status, _, body = await caller.reply()
            assert (status, json.loads(body)) == (200, ANSWER)
        caller.close()
        assert len(proxy.records()) == 100
        assert len({r.request_id for r in proxy.records()}) == 100
