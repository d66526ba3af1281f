"""Connections are bounded, reused, let go of, and never leaked or poisoned."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest

from proxy.errors import UpstreamFault
from proxy.http.message import Origin, Timeouts

from .authority import Authority
from .scripted import (
    Conn,
    Request,
    ScriptedUpstream,
    by_path,
    head,
    json_reply,
    reset_at,
    sse,
    stall_before_headers,
    stall_mid_stream,
)
from .upstream_caller import Caller, Endless, Source, calling, origin_of, until


class Held:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, request: Request, conn: Conn) -> None:
        await self.gate.wait()
        await json_reply({"connection": conn.number})(request, conn)


async def test_parallel_requests_have_connections_of_their_own_which_stay() -> None:
    held = Held()
    async with ScriptedUpstream(held) as upstream, calling() as caller:
        calls = [asyncio.create_task(caller.call(upstream)) for _ in range(20)]
        await until(lambda: len(upstream.requests) == 20)
        assert (caller.pool.open, caller.pool.idle) == (20, 0)
        held.gate.set()
        assert len(set(await asyncio.gather(*calls))) == 20
        assert (caller.pool.open, caller.pool.idle) == (20, 20)


async def test_the_connection_used_last_is_used_first() -> None:
    held = Held()
    async with ScriptedUpstream(held) as upstream, calling() as caller:
        calls = [asyncio.create_task(caller.call(upstream)) for _ in range(5)]
        await until(lambda: len(upstream.requests) == 5)
        held.gate.set()
        await asyncio.gather(*calls)
        replies = [await caller.call(upstream) for _ in range(4)]
        assert len(set(replies)) == 1


async def test_beyond_the_bound_requests_wait_their_turn() -> None:
    answers = asyncio.Semaphore(0)

    async def script(request: Request, conn: Conn) -> None:
        await answers.acquire()
        await json_reply(1)(request, conn)

    async with ScriptedUpstream(script) as upstream, calling(connections_max=2) as caller:
        calls = []
        for number in range(6):
            calls.append(asyncio.create_task(caller.call(upstream, b"%d" % number)))
            await asyncio.sleep(0)
        await until(lambda: set(upstream.bodies) == {b"0", b"1"} and caller.pool.waiting == 4)
        for expected in (b"2", b"3", b"4", b"5"):
            count = len(upstream.bodies)
            answers.release()
            await until(lambda count=count: len(upstream.bodies) > count and upstream.bodies[-1] != b"")
            assert upstream.bodies[-1] == expected
        for _ in range(2):
            answers.release()
        await asyncio.gather(*calls)
        assert len(upstream.connections) == 2
        await caller.settled()


async def test_waiting_has_a_limit() -> None:
    async with ScriptedUpstream(stall_before_headers) as upstream, calling(connections_max=1) as caller:
        first = asyncio.create_task(caller.call(upstream))
        await until(lambda: len(upstream.requests) == 1)
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(upstream, timeouts=Timeouts(connect_s=0.05))
        assert (caught.value.code, caught.value.http_status) == ("upstream_pool_exhausted", 504)
        assert (caller.pool.open, caller.pool.waiting) == (1, 0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert caller.pool.open == 0


async def test_a_waiter_that_leaves_gives_its_turn_to_the_next() -> None:
    held = Held()
    async with ScriptedUpstream(held) as upstream, calling(connections_max=1) as caller:
        calls = [asyncio.create_task(caller.call(upstream, b"%d" % number)) for number in range(4)]
        await until(lambda: len(upstream.requests) == 1 and caller.pool.waiting == 3)
        calls[1].cancel()
        await until(lambda: caller.pool.waiting == 2)
        held.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        assert upstream.bodies == [b"0", b"2", b"3"]


async def test_a_waiter_that_is_cancelled_with_its_turn_passes_it_on() -> None:
    """The connection was already given to the waiter, which has not run yet."""
    held = Held()
    async with ScriptedUpstream(held) as upstream, calling(connections_max=1) as caller:
        second: asyncio.Task[bytes] | None = None

        async def call_and_cancel_the_second() -> None:
            await caller.call(upstream, b"0")
            assert second is not None
            second.cancel()

        first = asyncio.create_task(call_and_cancel_the_second())
        await until(lambda: len(upstream.requests) == 1)
        second = asyncio.create_task(caller.call(upstream, b"1"))
        await until(lambda: caller.pool.waiting == 1)
        third = asyncio.create_task(caller.call(upstream, b"2"))
        await until(lambda: caller.pool.waiting == 2)
        held.gate.set()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert second.cancelled()
        assert third.exception() is None
        assert upstream.bodies == [b"0", b"2"]
        assert len(upstream.connections) == 1
        await caller.settled()


async def test_a_place_goes_on_when_a_connection_breaks() -> None:
    script = by_path({"/break": reset_at("request"), "/ok": json_reply(1)})
    async with ScriptedUpstream(script) as upstream, calling(connections_max=1) as caller:
        calls = [caller.call(upstream, target=target) for target in (b"/break", b"/ok", b"/break", b"/ok")]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(result, "code", result) for result in results] == ["connection_reset", b"1"] * 2
        await caller.settled()


async def test_a_place_goes_on_when_connecting_fails() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = Origin("http", "127.0.0.1", unused.getsockname()[1])
        async with calling(connections_max=1) as caller:
            results = await asyncio.gather(*[caller.call(origin) for _ in range(5)], return_exceptions=True)
            assert [getattr(result, "code", result) for result in results] == ["connection_refused"] * 5
            assert caller.pool.open == 0


async def test_a_place_goes_on_when_a_new_connection_is_reset() -> None:
    upstream_that_resets = ScriptedUpstream(json_reply(1), on_connect=Conn.reset)
    async with upstream_that_resets as upstream, calling(connections_max=1) as caller:
        results = await asyncio.gather(*[caller.call(upstream) for _ in range(5)], return_exceptions=True)
        assert [getattr(result, "code", result) for result in results] == ["connection_reset"] * 5
        assert caller.pool.open == 0


async def test_idle_connections_expire() -> None:
    async with ScriptedUpstream(json_reply(1)) as upstream, calling(keepalive_s=0.1) as caller:
        await caller.call(upstream)
        await until(lambda: caller.pool.open == 0)
        await until(lambda: upstream.open_connections == 0)
        await caller.call(upstream)
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_without_keepalive_nothing_stays_open() -> None:
    async with ScriptedUpstream(json_reply(1)) as upstream, calling(keepalive_s=0.0) as caller:
        await caller.call(upstream)
        assert caller.pool.open == 0


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
async def test_an_idle_connection_that_is_closed_or_speaks_is_dropped(after: bytes) -> None:
    gate = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await json_reply({"connection": conn.number})(request, conn)
        if conn.number == 0:
            await gate.wait()
            await (conn.send(after) if after else conn.close())

    async with ScriptedUpstream(script) as upstream, calling() as caller:
        assert await caller.call(upstream) == b'{"connection": 0}'
        gate.set()
        await until(lambda: caller.pool.open == 0)
        assert await caller.call(upstream) == b'{"connection": 1}'
        assert [attempt.error_type for attempt in caller.attempts] == ["", ""]


async def test_closing_the_pool_tells_everybody() -> None:
    script = by_path({"/stream": stall_mid_stream(["x"]), "/stall": stall_before_headers, "/ok": json_reply(1)})
    async with ScriptedUpstream(script) as upstream, calling(connections_max=3) as caller:
        streaming = asyncio.create_task(caller.call(upstream, target=b"/stream"))
        stalled = asyncio.create_task(caller.call(upstream, target=b"/stall"))
        await caller.call(upstream, target=b"/ok")
        third = asyncio.create_task(caller.call(upstream, target=b"/stall"))
        await until(lambda: len(upstream.requests) == 4 and caller.attempts[0].status == 200)
        waiting = asyncio.create_task(caller.call(upstream, target=b"/ok"))
        await until(lambda: caller.pool.waiting == 1)
        await caller.pool.aclose()
        results = await asyncio.gather(streaming, stalled, third, waiting, return_exceptions=True)
        assert [getattr(result, "code", result) for result in results] == ["upstream_cut"] * 4
        assert caller.pool.open == 0
        with pytest.raises(UpstreamFault):
            await caller.call(upstream)
        assert len(upstream.connections) == 3
        await until(lambda: upstream.open_connections == 0)


async def test_hundreds_of_idle_streams() -> None:
    gate = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        if request.target == "/quick":
            await json_reply(1)(request, conn)
        else:
            await conn.send(head(200, {"Transfer-Encoding": "chunked"}) + b"2\r\nhi\r\n")
            await gate.wait()
            await conn.send(b"3\r\nbye\r\n0\r\n\r\n")

    async with ScriptedUpstream(script) as upstream, calling(connections_max=1000) as caller:
        streams = [asyncio.create_task(caller.call(upstream)) for _ in range(400)]
        await until(lambda: sum(attempt.status == 200 for attempt in caller.attempts) == 400)
        assert await caller.call(upstream, target=b"/quick") == b"1"
        assert caller.pool.open == 401
        gate.set()
        assert await asyncio.gather(*streams) == [b"hibye"] * 400
        assert caller.pool.idle == 401


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_cancellation_anywhere_leaks_and_poisons_nothing(tls: bool, tmp_path: Path) -> None:
    """Calls of all kinds are cancelled after a random number of turns of the loop, or a random while."""
    choose = random.Random(20261123)
    script = by_path(
        {
            "/whole": json_reply("whole"),
            "/stream": sse(["x"] * 5, 0.001),
            "/stall": stall_before_headers,
            "/reset": reset_at("chunk", settle_s=0.0),
            "/ok": json_reply("ok"),
        }
    )

    authority = Authority(tmp_path) if tls else None

    async def one(caller: Caller, to: Origin) -> None:
        target = choose.choice([b"/whole", b"/stream", b"/stall", b"/reset"])
        body = choose.choice([b"{}", b"x" * 300_000, Source([b"ab", b"c"]), Endless([b"ab"])])
        length = choose.choice([3, None]) if not isinstance(body, bytes) else 0
        call = asyncio.create_task(caller.call(to, body, length, target=target))
        if choose.random() < 0.5:
            for _ in range(choose.randrange(12)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(choose.random() * 0.02)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    context = authority.serving("127.0.0.1") if authority else None
    async with ScriptedUpstream(script, tls=context) as upstream, calling(connections_max=5) as caller:
        to = origin_of(upstream, ca_file=authority.file if authority else None)
        for _ in range(30):
            await asyncio.gather(*[one(caller, to) for _ in range(12)])
        await caller.settled()
        for _ in range(10):
            assert await caller.call(to, target=b"/ok") == b'"ok"'
        await until(lambda: upstream.open_connections == caller.pool.open)
        assert all(attempt.end_ns for attempt in caller.attempts)
