"""WebSockets pass both ways, are recorded once, and their usage is added up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.http.message import Origin
from proxy.http.websocket import Tunneler
from tests.wire.proxied import PATIENCE_S, proxied

DONE = {"type": "response.done", "response": {"id": "resp_1", "usage": {"input_tokens": 7, "output_tokens": 3}}}

Behaviour = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


@asynccontextmanager
async def realtime(behave: Behaviour, prepare: Prepare | None = None) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A real WebSocket server; what it was asked is in the list."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        if request.headers.get("Authorization") != "Bearer sk-caller":
            return web.json_response({"error": {"message": "no"}}, status=401)
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        await behave(socket, request)
        return socket

    app = web.Application()
    if prepare is not None:
        app.on_response_prepare.append(prepare)
    app.router.add_get("/v1/realtime", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


async def echo(socket: web.WebSocketResponse, request: web.Request) -> None:
    async for message in socket:
        if message.data == "bye":
            await socket.close(code=4001, message=b"done")
        elif isinstance(message.data, bytes):
            await socket.send_bytes(message.data[::-1])
        else:
            await socket.send_str(message.data)


HEADERS = {"Authorization": "Bearer sk-caller", "x-penstock-user": "ada"}


async def test_messages_pass_both_ways_and_usage_is_added_up(tmp_path: Path) -> None:
    async with realtime(echo) as (url, seen), proxied(tmp_path, url) as proxy, aiohttp.ClientSession() as session:
        async with session.ws_connect(
            f"{proxy.url}/realtime?model=gpt-realtime", headers=HEADERS, protocols=["realtime", "openai-beta"]
        ) as socket:
            assert socket.protocol == "realtime"
            await socket.send_str("héllo")
            assert await socket.receive_str(timeout=PATIENCE_S) == "héllo"
            await socket.send_bytes(b"\x00\x01\x02")
            assert await socket.receive_bytes(timeout=PATIENCE_S) == b"\x02\x01\x00"
            for _ in range(2):
                await socket.send_str(json.dumps(DONE))
                await socket.receive_str(timeout=PATIENCE_S)
        record = await proxy.record()
    assert seen[0].query_string == "model=gpt-realtime"
    assert "x-penstock-user" not in seen[0].headers
    assert (record.outcome, record.status, record.path) == ("answered", 101, "/v1/realtime")
    assert record.request_model == "gpt-realtime"
    assert (record.input_tokens, record.output_tokens, record.response_id) == (14, 6, "resp_1")
    assert record.user == "ada"
    assert record.response_bytes > 0
    assert record.request_bytes > 0


async def test_the_upstream_s_close_code_reaches_the_caller(tmp_path: Path) -> None:
    async with realtime(echo) as (url, _), proxied(tmp_path, url) as proxy, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{proxy.url}/realtime", headers=HEADERS) as socket:
            await socket.send_str("bye")
            message = await socket.receive(timeout=PATIENCE_S)
            assert message.type == aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4001
        record = await proxy.record()
    assert (record.outcome, record.error_type) == ("cut", "websocket_close_4001")


async def test_a_caller_that_vanishes_ends_the_upstream_s_side(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def wait(socket: web.WebSocketResponse, request: web.Request) -> None:
        async for _ in socket:
            pass
        ended.set()

    async with realtime(wait) as (url, _), proxied(tmp_path, url) as proxy, aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{proxy.url}/realtime", headers=HEADERS)
        await socket.send_str("x")
        connection = socket._conn
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()  # type: ignore[attr-defined]
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()
        record = await proxy.record()
    assert record.outcome == "abandoned"


async def test_a_refused_handshake_reaches_the_caller_as_it_is(tmp_path: Path) -> None:
    async with realtime(echo) as (url, _), proxied(tmp_path, url) as proxy, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{proxy.url}/realtime")
        record = await proxy.record()
    assert refused.value.status == 401
    assert record.status == 401


async def test_credentials_in_a_netrc_file_are_nobody_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login operator password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with realtime(echo) as (url, seen), proxied(tmp_path, url) as proxy, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{proxy.url}/realtime", headers=HEADERS) as socket:
            await socket.send_str("x")
            assert await socket.receive_str(timeout=PATIENCE_S) == "x"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{proxy.url}/realtime")
    assert [request.headers.get("Authorization") for request in seen] == ["Bearer sk-caller", None]


async def test_a_forward_proxy_of_the_environment_is_used() -> None:
    async with realtime(echo) as (url, seen):
        tunneler = Tunneler(message_bytes_max=1000, proxies={"http": url.replace("//", "//us:pw@")})
        tunnel = await tunneler.connect(
            Origin("http", "api.test", 80),
            b"/v1/realtime",
            [(b"Authorization", b"Bearer sk-caller")],
            (),
            connect_s=PATIENCE_S,
            tls=None,
        )
        await tunnel.send("x")
        assert await tunnel.receive() == "x"
        await tunnel.aclose()
        await tunneler.aclose()
    assert seen[0].headers["Host"] == "api.test"
    assert seen[0].headers["Proxy-Authorization"] == "Basic dXM6cHc="
