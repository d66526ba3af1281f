"""A worker that ends: each connection may begin one more call, whose reply says that it was the last."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy.http.server import _LOOK_S
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post, proxied
from tests.wire.scripted import SSE_HEAD, Conn, Request, ScriptedUpstream, chunk, event, json_reply
from tests.wire.test_transparency import ANSWER

CHAT = b'{"model":"gpt-5","messages":[]}'
STREAM = b'{"model":"gpt-5","messages":[],"stream":true}'
GRACE_S = 3600.0


class Clock:
    """Goes on when it is told to."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    async def pass_by(self, seconds: float) -> None:
        """... and whoever looks at it now and then has looked."""
        self.now_s += seconds
        await asyncio.sleep(3 * _LOOK_S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def asked(caller: Caller, body: bytes = CHAT) -> dict[str, str]:
    """The header fields of the reply."""
    await caller.send(post("/v1/chat/completions", body))
    status, headers, _ = await caller.reply()
    assert status == 200
    return {name.lower(): value for name, value in headers}


def draining(proxy: Proxied) -> asyncio.Task[None]:
    proxy.app.begin_draining()
    return asyncio.create_task(proxy.app.server.emptied(GRACE_S))


async def something_came(proxy: Proxied, clock: Clock) -> None:
    """On any connection, since the clock stands."""
    async with asyncio.timeout(PATIENCE_S):
        while all(connection.touched < clock() for connection in proxy.app.server._served()):
            await asyncio.sleep(0.01)


async def test_a_connection_whose_stream_ends_while_it_drains_has_one_more_call(tmp_path: Path, clock: Clock) -> None:
    end = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        if request.body == CHAT:
            await json_reply(ANSWER)(request, conn)
            return
        await conn.send(SSE_HEAD + chunk(event({"choices": []})))
        async with asyncio.timeout(PATIENCE_S):
            await end.wait()
        await conn.send(chunk(event("[DONE]")) + chunk(b""))

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url, monotonic=clock) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        _, headers = await caller.head()
        assert "close" not in dict(headers).get("Connection", "")
        emptied = draining(proxy)
        await clock.pass_by(2 * GRACE_S)  # longer than idle ones are kept
        end.set()
        while await caller.chunk():
            pass
        await clock.pass_by(GRACE_S / 3)
        assert (await asked(caller))["connection"] == "close"
        assert await caller.reader.read() == b""
        caller.close()
        async with asyncio.timeout(PATIENCE_S):
            await emptied


async def test_idle_connections_are_closed_when_nothing_comes_and_not_before(tmp_path: Path, clock: Clock) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, monotonic=clock) as proxy,
    ):
        silent, used, halfway = [await Caller.connect(proxy) for _ in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            while len(proxy.app.server.connections) < 3:
                await asyncio.sleep(0.01)
        await asked(used)
        await clock.pass_by(1.5 * GRACE_S)  # idle before it drains
        emptied = draining(proxy)
        request = post("/v1/chat/completions", CHAT)
        for place in range(0, len(request), 30):  # slower than the grace
            await clock.pass_by(GRACE_S / 3)
            await halfway.send(request[place : place + 30])
            if place + 30 < len(request):
                await something_came(proxy, clock)
            if place == 0:
                assert (await asked(used))["connection"] == "close"
        status, headers, _ = await halfway.reply()
        assert (status, dict(headers)["Connection"]) == (200, "close")
        assert await silent.reader.read() == b""
        async with asyncio.timeout(PATIENCE_S):
            await emptied
        for caller in (silent, used, halfway):
            caller.close()


async def test_a_call_that_came_while_the_worker_stood_still_is_answered(tmp_path: Path, clock: Clock) -> None:
    """It waits in the kernel when the worker looks again, and the grace is over."""
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, monotonic=clock) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await asked(caller)
        async with asyncio.timeout(PATIENCE_S):
            while proxy.app.server.open:
                await asyncio.sleep(0.01)
        proxy.app.begin_draining()
        caller.writer.write(post("/v1/chat/completions", CHAT))
        clock.now_s += 2 * GRACE_S
        look = proxy.app.server.emptied(GRACE_S)
        look.send(None)  # before the loop reads anything
        look.close()
        emptied = asyncio.create_task(proxy.app.server.emptied(GRACE_S))
        status, headers, _ = await caller.reply()
        assert (status, dict(headers)["Connection"]) == (200, "close")
        caller.close()
        async with asyncio.timeout(PATIENCE_S):
            await emptied


async def test_nobody_waits_for_connections_that_there_are_not(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        proxy.app.begin_draining()
        async with asyncio.timeout(PATIENCE_S):
            await proxy.app.server.emptied(3600)
