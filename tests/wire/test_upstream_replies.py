"""Replies of all shapes come through the pool as they were sent, and the connection is used again when it may be."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import UpstreamFault
from proxy.http.message import Timeouts, UpstreamResponse

from .scripted import (
    Conn,
    Request,
    Script,
    ScriptedUpstream,
    byte_by_byte,
    chunked,
    head,
    json_reply,
    raw,
    reply,
    sse,
)
from .upstream_caller import PATIENCE_S, StoppedClock, calling, pieces, until, whole


async def test_a_whole_reply_is_bytes_and_its_connection_is_used_again() -> None:
    fields = [("X-B", "1"), ("x-b", "2"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
    async with ScriptedUpstream(json_reply({"id": 1}, headers=fields)) as upstream, calling() as caller:
        for _ in range(3):
            response = await caller.send(upstream, b'{"model": "m"}')
            assert response.body == b'{"id": 1}'
            assert response.status == 200
            assert response.reason == b"OK"
            assert [(n, v) for n, v in response.headers if n.lower() in (b"x-b", b"set-cookie")] == [
                (name.encode(), value.encode()) for name, value in fields
            ]
        assert caller.pool.open == caller.pool.idle == 1
    assert [request.connection for request in upstream.requests] == [0, 0, 0]
    assert upstream.requests[0].head == (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Case: kept\r\nContent-Length: 14\r\n\r\n"
        % upstream.port
    )
    assert upstream.bodies == [b'{"model": "m"}'] * 3


async def test_each_attempt_is_kept() -> None:
    async with ScriptedUpstream(json_reply({}, 429)) as upstream, calling() as caller:
        await caller.call(upstream)
    (attempt,) = caller.attempts
    assert (attempt.span_id, attempt.upstream, attempt.address) == ("0000000000000001", "test", "127.0.0.1")
    assert (attempt.port, attempt.status, attempt.error_type) == (upstream.port, 429, "")
    assert 0 < attempt.start_ns <= attempt.end_ns


async def test_events_arrive_as_they_are_sent() -> None:
    gate = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(head(200, {"Transfer-Encoding": "chunked"}))
        for part in (b"4\r\none\n\r\n", b"4\r\ntwo\n\r\n"):
            await conn.send(part)
            await gate.wait()
            gate.clear()
        await conn.send(b"0\r\n\r\n")

    async with ScriptedUpstream(script) as upstream, calling() as caller:
        response = await caller.send(upstream)
        assert not isinstance(response.body, bytes)
        assert caller.attempts[0].end_ns == 0
        for expected in (b"one\n", b"two\n", b""):
            assert await response.body.read() == expected
            gate.set()
        assert caller.attempts[0].end_ns > 0
        assert caller.pool.idle == 1
        assert await response.body.read() == b""


async def test_a_stream_is_whole_and_its_connection_is_used_again() -> None:
    async with ScriptedUpstream(sse(["one", {"two": 2}], 0.001)) as upstream, calling() as caller:
        for _ in range(2):
            assert await caller.call(upstream) == b'data: one\n\ndata: {"two": 2}\n\ndata: [DONE]\n\n'
        assert [request.connection for request in upstream.requests] == [0, 0]


async def test_pieces_that_wait_are_read_together() -> None:
    async with ScriptedUpstream(chunked([b"a", b"b", b"c"])) as upstream, calling() as caller:
        response = await caller.send(upstream)
        await until(lambda: caller.pool.idle == 1)
        assert response.body == b"abc" or await pieces(response) == [b"abc"]


FRAMINGS = {
    "length": head(200, {"Content-Length": "5"}) + b"hello",
    "chunked": head(200, {"Transfer-Encoding": "chunked"}) + b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
    "informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n"
    + head(200, {"Content-Length": "5"})
    + b"hello",
}


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_byte_by_byte(framing: str) -> None:
    async with ScriptedUpstream(byte_by_byte(FRAMINGS[framing])) as upstream, calling() as caller:
        assert await caller.call(upstream) == b"hello"
        assert await caller.call(upstream) == b"hello"
        assert [request.connection for request in upstream.requests] == [0, 0]


@pytest.mark.parametrize("dribble", [True, False])
async def test_a_body_that_ends_with_the_connection(dribble: bool) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"
    script = byte_by_byte(data, close=True) if dribble else raw(data, close=True)
    async with ScriptedUpstream(script) as upstream, calling() as caller:
        for _ in range(2):
            assert await caller.call(upstream) == b"hello"
            assert caller.pool.open == 0
        assert [request.connection for request in upstream.requests] == [0, 1]
        assert [attempt.error_type for attempt in caller.attempts] == ["", ""]


@pytest.mark.parametrize(
    ("method", "script"),
    [
        (b"HEAD", reply(200, {"X": "y"}, b"length of a body that is not sent")),
        (b"HEAD", raw(head(200, {"Transfer-Encoding": "chunked"}))),
        (b"GET", reply(304, {"ETag": '"x"'})),
        (b"DELETE", reply(204)),
    ],
)
async def test_replies_without_a_body(method: bytes, script: Script) -> None:
    async with ScriptedUpstream(script) as upstream, calling() as caller:
        for _ in range(2):
            assert (await caller.send(upstream, b"", method=method)).body == b""
        assert [request.connection for request in upstream.requests] == [0, 0]


@pytest.mark.parametrize("fields", [{"Connection": "close"}, {"Connection": "x, Close"}])
async def test_a_connection_that_is_to_be_closed_is_not_used_again(fields: dict[str, str]) -> None:
    async with ScriptedUpstream(reply(200, fields, b"x")) as upstream, calling() as caller:
        assert await caller.call(upstream) == b"x"
        assert caller.pool.open == 0
        assert await caller.call(upstream) == b"x"
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_bytes_after_a_reply_spoil_only_the_connection() -> None:
    script = raw(head(200, {"Content-Length": "1"}) + b"xHTTP/1.1 200")
    async with ScriptedUpstream(script) as upstream, calling() as caller:
        for _ in range(2):
            assert await caller.call(upstream) == b"x"
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_switching_protocols_unasked_is_a_fault_and_closes() -> None:
    script = raw(head(101, {"Upgrade": "x", "Connection": "upgrade"}))
    async with ScriptedUpstream(script) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.send(upstream)
        assert (caught.value.code, caller.pool.open) == ("bad_response", 0)


async def test_closing_a_body_before_its_end_closes_the_connection() -> None:
    async with ScriptedUpstream(sse(["x"] * 1000, 0.05)) as upstream, calling() as caller:
        response = await caller.send(upstream)
        assert not isinstance(response.body, bytes)
        await response.body.read()
        await response.body.aclose()
        await response.body.aclose()
        assert caller.pool.open == 0
        assert (caller.attempts[0].status, caller.attempts[0].error_type) == (200, "cancelled")
        await until(lambda: upstream.open_connections == 0)


async def test_closing_a_body_that_has_arrived_keeps_the_connection() -> None:
    async with ScriptedUpstream(sse(["x"] * 10, 0.001)) as upstream, calling() as caller:
        response = await caller.send(upstream)
        assert not isinstance(response.body, bytes)
        await until(lambda: caller.pool.idle == 1)
        await response.body.aclose()
        assert caller.pool.open == caller.pool.idle == 1


async def test_a_cancelled_read_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, gate = StoppedClock(monkeypatch), asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(head(200, {"Content-Length": "5"}) + b"he")
        await gate.wait()
        await conn.send(b"llo")

    async with ScriptedUpstream(script) as upstream, calling() as caller:
        limits = Timeouts(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, idle_s=0.2)
        response: UpstreamResponse = await caller.send(upstream, timeouts=limits)
        assert not isinstance(response.body, bytes)
        assert await response.body.read() == b"he"
        reading = asyncio.create_task(response.body.read())
        await clock.until_due_in(0.2)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        clock.advance(0.4)  # nobody waits, so the idle timeout does not run
        gate.set()
        assert await whole(response) == b"llo"
        assert caller.pool.idle == 1
