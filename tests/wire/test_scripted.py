"""The scripted upstream does what its scripts say: everything else on the wire is judged by it."""

from __future__ import annotations

import asyncio

import pytest

from .scripted import (
    STAGES,
    Conn,
    Request,
    ScriptedUpstream,
    by_path,
    byte_by_byte,
    close_at,
    head,
    in_turn,
    json_reply,
    reset_at,
    sse,
    stall_before_headers,
)
from .upstream_caller import until

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def call(upstream: ScriptedUpstream, data: bytes) -> bytes:
    """Sends `data` and reads until the upstream closes or resets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()


async def test_keeps_what_arrived_and_serves_the_next_request_on_the_same_connection() -> None:
    first = b"POST /a?q=1 HTTP/1.1\r\nHOST: x\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc"
    second = (
        b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x=y\r\nf\r\n0\r\nT: 1\r\n\r\n"
    )
    async with ScriptedUpstream(by_path({"/a": json_reply("a"), "/b": json_reply("b")})) as upstream:
        answer = await call(upstream, first + second + GET)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"HTTP/1.1 404") == 1
    assert upstream.bodies == [b"abc", b"def", b""]
    assert upstream.requests[0].head + b"abc" == first
    assert upstream.requests[0].target == "/a?q=1"
    assert upstream.requests[0].headers[1:3] == [(b"X-A", b"1"), (b"x-a", b"2")]
    assert [request.connection for request in upstream.requests] == [0, 0, 0]


async def test_streams_events() -> None:
    async with ScriptedUpstream(sse([{"a": 1}, "b"], 0.001)) as upstream:
        answer = await call(upstream, GET)
    assert answer.endswith(b'10\r\ndata: {"a": 1}\n\n\r\n9\r\ndata: b\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n')


async def test_sends_byte_by_byte() -> None:
    raw = head(200, {"Content-Length": "3"}) + b"abc"
    async with ScriptedUpstream(byte_by_byte(raw)) as upstream:
        assert await call(upstream, GET) == raw


@pytest.mark.parametrize("stage", STAGES)
async def test_breaks_off_at_a_stage(stage: str) -> None:
    async with ScriptedUpstream(in_turn(close_at(stage), reset_at(stage))) as upstream:
        sent = await call(upstream, GET)
        assert not sent.endswith(b"\r\n\r\n0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await call(upstream, GET)


async def test_notices_that_the_peer_left() -> None:
    async with ScriptedUpstream(stall_before_headers) as upstream:
        leaving = asyncio.create_task(call(upstream, GET))
        await until(lambda: len(upstream.requests) == 1)
        leaving.cancel()
        await until(upstream.requests[0].closed.is_set)
        assert upstream.open_connections == 0


async def test_continues_when_expected() -> None:
    expecting = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx" + GET
    async with ScriptedUpstream(json_reply(1)) as upstream:
        assert (await call(upstream, expecting)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_a_fault_in_a_script_is_raised() -> None:
    async def faulty(request: Request, conn: Conn) -> None:
        raise LookupError("a mistake in the script")

    with pytest.raises(LookupError):
        async with ScriptedUpstream(faulty) as upstream:
            await call(upstream, GET)
