"""What goes wrong on the way upstream has one code each; what may be repeated is, once."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from proxy.errors import ClientFault, UpstreamFault
from proxy.http.message import Origin, Timeouts

from .scripted import (
    SSE_HEAD,
    STAGES,
    Conn,
    Request,
    Script,
    ScriptedUpstream,
    chunk,
    close_at,
    event,
    head,
    in_turn,
    json_reply,
    raw,
    reset_at,
    sse,
    stall_before_headers,
    stall_mid_stream,
    wrong_content_length,
)
from .upstream_caller import PATIENT, Caller, Source, StoppedClock, calling, until, whole

BEFORE_THE_HEAD = {"request", "status", "headers"}


async def fault_of(caller: Caller, to: ScriptedUpstream | Origin, **options: object) -> UpstreamFault:
    with pytest.raises(UpstreamFault) as caught:
        await caller.call(to, **options)
    await caller.settled()
    assert caller.attempts[-1].error_type == caught.value.code
    assert caller.attempts[-1].end_ns > 0
    return caught.value


@pytest.mark.parametrize("stage", STAGES)
async def test_the_upstream_breaks_off(stage: str) -> None:
    code = "connection_reset" if stage in BEFORE_THE_HEAD else "upstream_cut"
    script = in_turn(reset_at(stage), close_at(stage), json_reply("fine"))
    async with ScriptedUpstream(script) as upstream, calling() as caller:
        for _ in range(2):
            fault = await fault_of(caller, upstream)
            assert (fault.code, fault.http_status) == (code, 502)
            assert fault.replayable == (stage == "request")
            assert caller.pool.open == 0
        assert await caller.call(upstream) == b'"fine"'
        assert len(upstream.requests) == 3, "a new connection is never retried"


@pytest.mark.parametrize("stage", ["head", "body", "chunk"])
async def test_what_arrived_before_the_break_is_read_first(stage: str) -> None:
    async with ScriptedUpstream(close_at(stage)) as upstream, calling() as caller:
        response = await caller.send(upstream)
        assert not isinstance(response.body, bytes)
        await until(lambda: caller.pool.open == 0)
        if stage != "head":
            assert await response.body.read() == {"body": b"half of it", "chunk": b"data: one\n\nda"}[stage]
        with pytest.raises(UpstreamFault):
            await response.body.read()


async def test_a_length_that_is_too_long_is_a_cut() -> None:
    async with ScriptedUpstream(wrong_content_length(10, b"short")) as upstream, calling() as caller:
        assert (await fault_of(caller, upstream)).code == "upstream_cut"


@pytest.mark.parametrize(
    "data",
    [
        b"not http at all\r\n\r\n",
        head(200, [("Content-Length", "1"), ("Content-Length", "2")]) + b"ab",
        head(200, [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]) + b"1\r\na\r\n0\r\n\r\n",
        head(200, {"Transfer-Encoding": "chunked"}) + b"1\r\na\r\nzz\r\n",
        head(200, {"X-Huge": "h" * 70000, "Content-Length": "0"}),
    ],
    ids=["not http", "two lengths", "two framings", "chunk size", "huge head"],
)
async def test_a_bad_reply(data: bytes) -> None:
    async with ScriptedUpstream(raw(data)) as upstream, calling() as caller:
        fault = await fault_of(caller, upstream)
        assert (fault.code, fault.http_status, caller.pool.open) == ("bad_response", 502, 0)


@pytest.mark.parametrize(
    ("code", "script", "timeouts"),
    [
        ("first_byte_timeout", stall_before_headers, replace(PATIENT, first_byte_s=0.05)),
        ("idle_timeout", stall_mid_stream(["one"]), replace(PATIENT, idle_s=0.05)),
        ("total_timeout", sse(["x"] * 10000, 0.01), replace(PATIENT, total_s=0.15)),
        ("total_timeout", stall_before_headers, replace(PATIENT, total_s=0.05)),
    ],
)
async def test_timeouts_have_a_code_each(code: str, script: Script, timeouts: Timeouts) -> None:
    async with ScriptedUpstream(script) as upstream, calling() as caller:
        fault = await fault_of(caller, upstream, timeouts=timeouts)
        assert (fault.code, fault.http_status) == (code, 504)
        assert f"{code}_s" in fault.message
        await until(lambda: upstream.open_connections == 0)


async def test_the_total_includes_connecting() -> None:
    limits = replace(PATIENT, total_s=0.05)
    async with ScriptedUpstream(stall_before_headers) as upstream, calling(connections_max=1) as caller:
        first = asyncio.create_task(caller.call(upstream))
        await until(lambda: len(upstream.requests) == 1)
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(upstream, timeouts=limits)
        assert caught.value.code == "total_timeout"
        first.cancel()


async def test_a_slow_stream_within_its_limits_does_not_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(PATIENT, first_byte_s=1, idle_s=1)
    clock, steps = StoppedClock(monkeypatch), asyncio.Semaphore(0)

    async def script(request: Request, conn: Conn) -> None:
        for piece in (SSE_HEAD, *(chunk(event("x")) for _ in range(12)), chunk(b"")):
            await steps.acquire()
            await conn.send(piece)

    async with ScriptedUpstream(script) as upstream, calling() as caller:
        sending = asyncio.create_task(caller.send(upstream, timeouts=limits))
        await clock.until_due_in(1)
        clock.advance(0.9)
        steps.release()
        body = (await sending).body
        assert not isinstance(body, bytes)
        for expected in [event("x")] * 12 + [b""]:
            reading = asyncio.create_task(body.read())
            await clock.until_due_in(1)
            clock.advance(0.9)
            steps.release()
            assert await reading == expected


async def test_a_slow_reader_does_not_time_the_upstream_out(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(PATIENT, idle_s=0.2)
    clock = StoppedClock(monkeypatch)
    begin, rest = asyncio.Event(), asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(head(200, {"Content-Length": "5"}))
        await begin.wait()
        await conn.send(b"he")
        await rest.wait()
        await conn.send(b"llo")

    async with ScriptedUpstream(script) as upstream, calling() as caller:
        response = await caller.send(upstream, timeouts=limits)
        assert not isinstance(response.body, bytes)
        reading = asyncio.create_task(response.body.read())
        await clock.until_due_in(0.2)
        begin.set()
        assert await reading == b"he"
        clock.advance(0.5)
        rest.set()
        assert await whole(response) == b"llo"


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with calling() as caller:
            fault = await fault_of(caller, Origin("http", "127.0.0.1", unused.getsockname()[1]))
    assert (fault.code, fault.http_status) == ("connection_refused", 502)
    assert caller.attempts[0].status == 0


async def test_nobody_accepts() -> None:
    """The accept queue is full, so the kernel leaves our SYN unanswered."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        async with calling() as caller:
            origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
            fault = await fault_of(caller, origin, timeouts=Timeouts(connect_s=0.1))
            assert caller.pool.open == 0
    assert (fault.code, fault.http_status) == ("connect_timeout", 504)


async def test_a_name_that_does_not_exist() -> None:
    async with calling() as caller:
        fault = await fault_of(caller, Origin("http", "no-such-host.invalid", 80))
    assert (fault.code, fault.http_status) == ("dns_failure", 502)
    assert "no-such-host.invalid" in fault.message


class StaleOnce:
    """Answers the first request of a connection and breaks off at the second, if `stale`."""

    def __init__(self, breaking: Script) -> None:
        self._breaking = breaking
        self._served: set[int] = set()

    async def __call__(self, request: Request, conn: Conn) -> None:
        if conn.number in self._served:
            await self._breaking(request, conn)
        self._served.add(conn.number)
        if not conn.finished:
            await json_reply({"connection": conn.number})(request, conn)


@pytest.mark.parametrize("breaking", [close_at("request"), reset_at("request", settle_s=0.0)])
async def test_a_stale_connection_is_replaced_once(breaking: Script) -> None:
    async with ScriptedUpstream(StaleOnce(breaking)) as upstream, calling() as caller:
        assert await caller.call(upstream) == b'{"connection": 0}'
        assert await caller.call(upstream, b"again") == b'{"connection": 1}'
        assert upstream.bodies == [b"{}", b"again", b"again"]
        assert [attempt.error_type for attempt in caller.attempts] == ["", "connection_reset", ""]
        assert [attempt.status for attempt in caller.attempts] == [200, 0, 200]
        assert len({attempt.span_id for attempt in caller.attempts}) == 3
        assert caller.pool.open == caller.pool.idle == 1


async def test_the_replacement_is_not_replaced_again() -> None:
    async with ScriptedUpstream(in_turn(json_reply(1), close_at("request"))) as upstream, calling() as caller:
        await caller.call(upstream)
        assert (await fault_of(caller, upstream)).code == "connection_reset"
        assert len(upstream.requests) == 3


async def test_a_replacement_that_is_stale_too_is_the_end() -> None:
    """With one connection, the replacement may be one that another request has used meanwhile."""
    async with ScriptedUpstream(StaleOnce(close_at("request"))) as upstream, calling(connections_max=1) as caller:
        await caller.call(upstream)
        results = await asyncio.gather(*[caller.call(upstream) for _ in range(2)], return_exceptions=True)
        assert [getattr(result, "code", result) for result in results] == ["connection_reset", b'{"connection": 1}']


async def test_a_stale_connection_is_not_replaced_after_a_byte_came_back() -> None:
    async with ScriptedUpstream(StaleOnce(close_at("status"))) as upstream, calling() as caller:
        await caller.call(upstream)
        await fault_of(caller, upstream)
        assert len(upstream.requests) == 2


async def test_a_body_in_pieces_is_not_sent_again() -> None:
    async with ScriptedUpstream(StaleOnce(close_at("request"))) as upstream, calling() as caller:
        await caller.call(upstream)
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(upstream, Source([b"abc"]), 3)
        assert caught.value.code == "connection_reset"
        assert len(upstream.requests) == 2


async def test_timeouts_are_not_retried() -> None:
    limits = replace(PATIENT, first_byte_s=0.05)
    async with ScriptedUpstream(StaleOnce(stall_before_headers)) as upstream, calling() as caller:
        await caller.call(upstream)
        await fault_of(caller, upstream, timeouts=limits)
        assert len(caller.attempts) == 2
        await until(lambda: len(upstream.requests) == 2)


async def test_a_request_that_cannot_be_written_takes_no_connection() -> None:
    async with ScriptedUpstream(json_reply(1)) as upstream, calling() as caller:
        with pytest.raises(ClientFault):
            await caller.call(upstream, target=b"/v1/x\r\nX-Injected: 1")
        assert caller.pool.open == 0
        assert caller.attempts == []
        assert await caller.call(upstream, timeouts=PATIENT) == b"1"
        with pytest.raises(ClientFault):
            await caller.call(upstream, target=b"/v1/x\r\nX-Injected: 1")
        assert caller.pool.open == caller.pool.idle == 1
