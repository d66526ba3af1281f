"""Large and slow bodies, up and down: nothing is held that nobody has asked for, and nobody blocks anybody."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import pytest

from proxy.errors import ClientFault, ClientGone, UpstreamFault
from proxy.http.message import Timeouts

from .scripted import Conn, Request, ScriptedUpstream, head, json_reply, reply, stall_before_headers
from .upstream_caller import PATIENCE_S, Endless, Source, StoppedClock, calling, until, whole

BLOCK = bytes(range(256)) * 256
BLOCKS = 320
SIZE = len(BLOCK) * BLOCKS
DIGEST = hashlib.sha256(BLOCK * BLOCKS).hexdigest()
KERNEL_BYTES = 12_000_000
"""More than the socket buffers of both sides can hold on loopback."""


class Download:
    """Sends SIZE bytes and counts what it could."""

    def __init__(self, *, chunked: bool) -> None:
        self.sent_bytes = 0
        self._chunked = chunked

    async def __call__(self, request: Request, conn: Conn) -> None:
        framing = {"Transfer-Encoding": "chunked"} if self._chunked else {"Content-Length": str(SIZE)}
        await conn.send(head(200, framing))
        for _ in range(BLOCKS):
            await conn.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if self._chunked else BLOCK)
            self.sent_bytes += len(BLOCK)
        if self._chunked:
            await conn.send(b"0\r\n\r\n")


async def stands_still(count: object) -> int:
    """The value of `count` once it has not changed for a while."""
    seen, same = -1, 0
    while same < 20:
        now = count()  # type: ignore[operator]
        seen, same = now, same + 1 if now == seen else 0
        await asyncio.sleep(0.01)
    return seen


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_reader_that_pauses_stops_the_upstream(chunked: bool) -> None:
    download = Download(chunked=chunked)
    async with ScriptedUpstream(download) as upstream, calling() as caller:
        response = await caller.send(upstream)
        assert not isinstance(response.body, bytes)
        held = await stands_still(lambda: download.sent_bytes)
        assert held < KERNEL_BYTES < SIZE
        assert len(await response.body.read()) < 2_000_000, "beyond the high-water mark the socket is not read"
        digest, size = hashlib.sha256(), 0
        await response.body.aclose()
        assert caller.pool.open == 0
        response = await caller.send(upstream)
        assert not isinstance(response.body, bytes)
        while piece := await response.body.read():
            digest.update(piece)
            size += len(piece)
            await asyncio.sleep(0)
        assert (size, digest.hexdigest()) == (SIZE, DIGEST)
        assert caller.pool.open == caller.pool.idle == 1
        small = ScriptedUpstream(json_reply(1))
        async with small:
            assert await caller.call(small) == b"1"


def blocks() -> Iterator[bytes]:
    for _ in range(BLOCKS):
        yield BLOCK


@pytest.mark.parametrize("length", [SIZE, None])
async def test_an_upstream_that_pauses_stops_the_upload(length: int | None) -> None:
    gate = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await gate.wait()
        body = await conn.read_body(request)
        await json_reply(hashlib.sha256(body).hexdigest())(request, conn)

    source = Source(blocks())
    async with ScriptedUpstream(script, read_body=False) as upstream, calling() as caller:
        call = asyncio.create_task(caller.call(upstream, source, length))
        await until(lambda: source.read_bytes > 0)
        held = await stands_still(lambda: source.read_bytes)
        assert held < KERNEL_BYTES < SIZE
        gate.set()
        assert await call == f'"{DIGEST}"'.encode()
        assert upstream.requests[0].header("content-length") == (str(SIZE) if length else None)
        assert upstream.requests[0].header("transfer-encoding") == (None if length else "chunked")
        assert caller.pool.open == caller.pool.idle == 1


async def test_a_large_body_that_is_whole() -> None:
    async with ScriptedUpstream(json_reply(1)) as upstream, calling() as caller:
        assert await caller.call(upstream, BLOCK * BLOCKS) == b"1"
        assert hashlib.sha256(upstream.bodies[0]).hexdigest() == DIGEST
        assert caller.pool.idle == 1


@pytest.mark.parametrize("body", [b"refused", b"r" * 300_000], ids=["small", "large"])
@pytest.mark.parametrize("length", [SIZE, None])
async def test_a_refusal_before_the_upload_is_over_is_handed_on_and_stops_it(body: bytes, length: int | None) -> None:
    async def refuse(request: Request, conn: Conn) -> None:
        await reply(413, {"X-Why": "large"}, body)(request, conn)
        await conn.wait_closed_by_peer()

    source = Endless([BLOCK] * 100)
    async with ScriptedUpstream(refuse, read_body=False) as upstream, calling() as caller:
        response = await caller.send(upstream, source, length)
        assert response.status == 413
        assert await whole(response) == body
        assert caller.pool.open == 0
        assert caller.attempts[0].status == 413


async def test_a_refusal_of_a_whole_body_closes_the_connection() -> None:
    async def refuse(request: Request, conn: Conn) -> None:
        await reply(413, {}, b"too large")(request, conn)
        await conn.wait_closed_by_peer()

    async with ScriptedUpstream(refuse, read_body=False) as upstream, calling() as caller:
        assert await caller.call(upstream, BLOCK * BLOCKS) == b"too large"
        assert caller.pool.open == 0


@pytest.mark.parametrize("body", [b"who?", b"w" * 300_000], ids=["small", "large"])
async def test_a_refusal_reaches_a_caller_who_sends_nothing_more(body: bytes) -> None:
    source = Endless([b"begin"])

    async def refuse(request: Request, conn: Conn) -> None:
        await until(lambda: source.reading)
        await reply(401, {}, body)(request, conn)

    async with ScriptedUpstream(refuse, read_body=False) as upstream, calling() as caller:
        response = await caller.send(upstream, source, 100)
        assert not source.reading, "the source is let go of before the reply is handed on"
        assert (response.status, await whole(response)) == (401, body)
        assert caller.pool.open == 0


async def test_a_reply_that_begins_early_does_not_stop_the_upload() -> None:
    async def echo(request: Request, conn: Conn) -> None:
        await conn.send(head(200, {"Content-Length": "6"}))
        await conn.send(await conn.read_body(request))

    async with ScriptedUpstream(echo, read_body=False) as upstream, calling() as caller:
        assert await caller.call(upstream, Source([b"a"] * 6), None) == b"aaaaaa"
        await caller.settled()


async def test_a_stalled_upload_times_out() -> None:
    limits = Timeouts(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, idle_s=0.1)
    source = Source(blocks())
    async with ScriptedUpstream(stall_before_headers, read_body=False) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(upstream, source, SIZE, timeouts=limits)
        assert (caught.value.code, caught.value.http_status) == ("idle_timeout", 504)
        assert source.read_bytes < SIZE
        assert caller.pool.open == 0


async def test_a_whole_body_that_is_not_taken_times_out() -> None:
    limits = Timeouts(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, idle_s=0.1)
    async with ScriptedUpstream(stall_before_headers, read_body=False) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(upstream, BLOCK * BLOCKS, timeouts=limits)
        assert caught.value.code == "idle_timeout"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("length", [0, SIZE], ids=["whole", "in pieces"])
async def test_the_wait_for_a_reply_begins_when_the_request_has_left(
    length: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begin, answer = StoppedClock(monkeypatch), asyncio.Event(), asyncio.Event()

    async def slow(request: Request, conn: Conn) -> None:
        await begin.wait()
        await conn.read_body(request)
        await answer.wait()
        await json_reply("taken")(request, conn)

    limits = Timeouts(connect_s=PATIENCE_S, first_byte_s=1, idle_s=20)
    body = Source([BLOCK * BLOCKS]) if length else BLOCK * BLOCKS
    async with ScriptedUpstream(slow, read_body=False) as upstream, calling() as caller:
        call = asyncio.create_task(caller.call(upstream, body, length, timeouts=limits))
        await clock.until_due_in(20)
        clock.advance(1.5)
        begin.set()
        await clock.until_due_in(1)
        clock.advance(1.1 if late else 0.9)
        answer.set()
        if late:
            with pytest.raises(UpstreamFault) as caught:
                await call
            assert caught.value.code == "first_byte_timeout"
        else:
            assert await call == b'"taken"'


@pytest.mark.parametrize(
    ("source", "length", "error"),
    [
        (Source([b"abc"]), 5, ClientFault),
        (Source([b"abc", b"def"]), 5, ClientFault),
        (Source([b"abc"], ClientGone()), 5, ClientGone),
        (Source([b"abc"], ClientGone()), None, ClientGone),
    ],
    ids=["short", "long", "gone", "gone in chunks"],
)
async def test_a_source_that_fails_breaks_the_request_off(
    source: Source, length: int | None, error: type[Exception]
) -> None:
    async with ScriptedUpstream(json_reply(1)) as upstream, calling() as caller:
        with pytest.raises(error):
            await caller.call(upstream, source, length)
        assert caller.pool.open == 0
        await until(lambda: any(request.body_error for request in upstream.requests))
        await until(lambda: upstream.open_connections == 0)


async def test_cancelling_an_upload_lets_go_of_its_source() -> None:
    source = Endless([b"begin"])
    async with ScriptedUpstream(stall_before_headers) as upstream, calling() as caller:
        call = asyncio.create_task(caller.call(upstream, source, None))
        await until(lambda: source.reading)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await until(lambda: not source.reading)
        assert caller.pool.open == 0
