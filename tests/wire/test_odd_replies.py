"""Replies that say one thing and do another: each is recorded once, and the caller's connection stays in step."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from tests.wire.proxied import PATIENCE_S, Caller, post, proxied
from tests.wire.scripted import Conn, Request, ScriptedUpstream, chunk, head, in_turn, json_reply, raw
from tests.wire.test_streams import DELTAS, STREAM, USAGE, text
from tests.wire.test_transparency import ANSWER, CHAT

SSE = [("Content-Type", "text/event-stream")]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_reply_without_a_body_has_none_even_if_it_says_event_stream(tmp_path: Path, method: str) -> None:
    """A chunked end after a reply to HEAD, or after a 204, would be read as the next reply."""
    first = raw(head(200 if method == "HEAD" else 204, SSE))
    async with (
        ScriptedUpstream(in_turn(first, json_reply(ANSWER))) as upstream,
        proxied(tmp_path, upstream.url) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(f"{method} /v1/things HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await caller.head()
        await caller.send(post("/v1/chat/completions", CHAT))
        status, _, body = await caller.reply()
        caller.close()
        records = proxy.records()
    assert (status, json.loads(body)) == (200, ANSWER)
    assert [r.outcome for r in records] == ["answered", "answered"]


async def test_an_upstream_that_switches_protocols_unasked_is_at_fault(tmp_path: Path) -> None:
    answer = head(101, [("Upgrade", "foo"), ("Connection", "Upgrade")], "Switching Protocols")
    async with ScriptedUpstream(raw(answer)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT))
        status, _, body = await caller.reply()
        caller.close()
        record = await proxy.record()
    assert status == 502
    assert json.loads(body)["error"]["code"] == "bad_response"
    assert (record.outcome, record.error_type) == ("failed", "bad_response")


async def test_a_fault_of_the_request_after_the_reply_began_breaks_the_reply(tmp_path: Path) -> None:
    """An error page within a reply's body would be taken for part of it."""

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(head(200, [("Content-Length", "100000")]) + b"x" * 10)
        await conn.wait_closed_by_peer()

    async with ScriptedUpstream(script, read_body=False) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert (await caller.head())[0] == 200
        assert await caller.reader.readexactly(10) == b"x" * 10
        await caller.send(b"no chunk at all\r\n")
        async with asyncio.timeout(PATIENCE_S):
            rest = await caller.reader.read()
        caller.close()
        record = await proxy.record()
    assert rest == b""
    assert record.outcome != "answered"


@pytest.mark.parametrize("kind", ["Text/Event-Stream", ""])
async def test_a_stream_is_known_however_its_type_is_written(tmp_path: Path, kind: str) -> None:
    """Passed on piece by piece, metered, its usage hidden."""
    may_end = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        fields = [("Transfer-Encoding", "chunked"), *([("Content-Type", kind)] if kind else [])]
        await conn.send(head(200, fields) + chunk(text(*DELTAS)))
        async with asyncio.timeout(PATIENCE_S):
            await may_end.wait()
        await conn.send(chunk(text(USAGE, "[DONE]")) + chunk(b""))

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        await caller.head()
        assert await caller.chunk() == text(*DELTAS)
        may_end.set()
        assert await caller.chunk() == text("[DONE]")
        caller.close()
        record = await proxy.record()
    assert (record.input_tokens, record.output_tokens) == (5, 2)


async def test_a_stream_of_another_type_passes_piece_by_piece(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(head(200, [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]))
        await conn.send(chunk(b'{"a":1}\n'))
        async with asyncio.timeout(PATIENCE_S):
            await may_end.wait()
        await conn.send(chunk(b""))

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        await caller.head()
        assert await caller.chunk() == b'{"a":1}\n'
        may_end.set()
        assert await caller.chunk() == b""
        caller.close()
        assert (await proxy.record()).outcome == "answered"


async def test_a_coded_stream_that_cannot_be_decoded_does_not_end_cleanly(tmp_path: Path) -> None:
    """Its usage is to be taken out, so the caller gets the decoded copy: what that lacks must not go unseen."""
    coded = gzip.compress(text(*DELTAS))
    body = coded[:-12] + b"\xff" * 40 + coded[-12:]
    fields = [*SSE, ("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
    async with ScriptedUpstream(raw(head(200, fields) + body)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        with pytest.raises(asyncio.IncompleteReadError):
            await caller.reply()
        caller.close()
        record = await proxy.record()
    assert (record.outcome, record.error_type) == ("cut", "bad_coding")
