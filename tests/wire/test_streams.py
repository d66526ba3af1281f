"""Streams pass as they come; the usage that was asked for in the caller's stead is hidden; broken ones look broken."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.wire.proxied import PATIENCE_S, Caller, post, proxied
from tests.wire.scripted import (
    SSE_HEAD,
    STAGES,
    Conn,
    Request,
    ScriptedUpstream,
    byte_by_byte,
    chunk,
    close_at,
    event,
    reset_at,
    sse,
    stall_mid_stream,
)

STREAM = b'{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"hi"}]}'
ASKING = b'{"model":"gpt-5","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
DELTAS = [
    {"id": "chatcmpl-1", "model": "gpt-5", "choices": [{"index": 0, "delta": {"role": "assistant"}}], "usage": None},
    {"id": "chatcmpl-1", "model": "gpt-5", "choices": [{"index": 0, "delta": {"content": "hel"}}], "usage": None},
    {"id": "chatcmpl-1", "model": "gpt-5", "choices": [{"index": 0, "delta": {"content": "lo"}}], "usage": None},
]
USAGE = {"id": "chatcmpl-1", "model": "gpt-5", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


def text(*events: object) -> bytes:
    return b"".join(event(item) for item in events)


async def test_each_event_passes_before_the_next_is_sent(tmp_path: Path) -> None:
    """The upstream sends the next event only when the caller has the one before."""
    may_go_on = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD)
        for delta in DELTAS:
            await conn.send(chunk(event(delta)))
            async with asyncio.timeout(PATIENCE_S):
                await may_go_on.wait()
            may_go_on.clear()
        await conn.send(chunk(event("[DONE]")) + chunk(b""))

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        await caller.head()
        for delta in DELTAS:
            assert await caller.chunk() == event(delta)
            may_go_on.set()
        assert await caller.chunk() == b"data: [DONE]\n\n"
        assert await caller.chunk() == b""
        caller.close()


async def test_usage_is_asked_for_and_hidden_from_a_caller_that_did_not_ask(tmp_path: Path) -> None:
    async with ScriptedUpstream(sse([*DELTAS, USAGE])) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM, ("Accept-Encoding", "gzip")))
        _, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert body == text(*DELTAS, "[DONE]")
    asked = upstream.requests[0]
    assert asked.json()["stream_options"] == {"include_usage": True}
    assert asked.header("accept-encoding") == "identity"
    assert (record.input_tokens, record.output_tokens, record.usage_source) == (5, 2, "upstream")
    assert record.request_body == STREAM


async def test_usage_stays_for_a_caller_that_asked(tmp_path: Path) -> None:
    async with ScriptedUpstream(sse([*DELTAS, USAGE])) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", ASKING))
        _, _, body = await caller.reply()
        caller.close()
    assert body == text(*DELTAS, USAGE, "[DONE]")
    assert upstream.requests[0].body == ASKING


async def test_usage_is_not_asked_of_an_upstream_that_refuses_unknown_fields(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse(DELTAS)) as upstream,
        proxied(tmp_path, upstream.url, upstream={"include_usage": False}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        _, _, body = await caller.reply()
        caller.close()
    assert body == text(*DELTAS, "[DONE]")
    assert upstream.requests[0].body == STREAM


async def test_a_stream_that_dribbles_byte_by_byte_is_the_same_stream(tmp_path: Path) -> None:
    raw = SSE_HEAD + b"".join(chunk(event(item)) for item in [*DELTAS, USAGE, "[DONE]"]) + chunk(b"")
    async with ScriptedUpstream(byte_by_byte(raw)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        _, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert body == text(*DELTAS, "[DONE]")
    assert (record.input_tokens, record.output_tokens) == (5, 2)
    assert record.start_ns < record.first_token_ns <= record.end_ns


async def test_the_summary_comes_as_a_last_comment(tmp_path: Path) -> None:
    async with ScriptedUpstream(sse([*DELTAS, USAGE])) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM, ("x-penstock-stream-summary", "1")))
        _, headers, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    stream, _, comment = body.partition(b": penstock ")
    assert stream == text(*DELTAS, "[DONE]")
    assert json.loads(comment) == {
        "request_id": record.request_id,
        "input_tokens": 5,
        "cached_tokens": None,
        "output_tokens": 2,
        "cost_usd": None,
    }
    assert dict(headers)["x-penstock-request-id"] == record.request_id


async def test_the_record_is_in_the_spool_before_the_caller_has_the_end(tmp_path: Path) -> None:
    """The connection stays open after `[DONE]`: whoever has read that far can be sure of the record."""

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + chunk(text(*DELTAS, USAGE)) + chunk(event("[DONE]")))
        await conn.wait_closed_by_peer()

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        await caller.head()
        body = b""
        while b"[DONE]" not in body:
            body += await caller.chunk()
        (record,) = proxy.records()
        caller.close()
    assert record.outcome == "answered"


@pytest.mark.parametrize("stage", ["chunk_size", "chunk", "between_chunks", "last_chunk", "body"])
@pytest.mark.parametrize("how", [reset_at, close_at])
async def test_an_upstream_that_breaks_off_is_seen_to_break_off(tmp_path: Path, stage: str, how: object) -> None:
    async with ScriptedUpstream(how(stage)) as upstream, proxied(tmp_path, upstream.url) as proxy:  # type: ignore[operator]
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", ASKING))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.reply()
        record = await proxy.record()
        caller.close()
    assert record.outcome == "cut"
    assert record.error_type == "upstream_cut"
    assert record.status == 200


@pytest.mark.parametrize("stage", [s for s in STAGES if s in ("request", "status", "headers")])
async def test_an_upstream_that_breaks_off_before_its_head_is_a_502(tmp_path: Path, stage: str) -> None:
    async with ScriptedUpstream(reset_at(stage)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        status, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert status == 502
    assert json.loads(body)["error"]["type"] == "upstream_error"
    assert (record.outcome, record.status) == ("failed", 502)
    assert len(record.attempts) == 1
    assert record.attempts[0].error_type


async def test_a_stream_that_stalls_is_cut(tmp_path: Path) -> None:
    script = stall_mid_stream(DELTAS)
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, upstream={"idle_timeout_s": 0.2}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", ASKING))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.reply()
        record = await proxy.record()
        caller.close()
    assert (record.outcome, record.error_type) == ("cut", "idle_timeout")
    assert record.response_body is not None
    assert b"hel" in record.response_body


async def test_a_caller_that_leaves_ends_the_upstream_call(tmp_path: Path) -> None:
    async with ScriptedUpstream(stall_mid_stream(DELTAS)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", ASKING))
        await caller.head()
        await caller.chunk()
        caller.close()
        async with asyncio.timeout(PATIENCE_S):
            await upstream.requests[0].closed.wait()
        record = await proxy.record()
    assert (record.outcome, record.error_type) == ("abandoned", "client_disconnected")
    assert record.response_body == text(*DELTAS)


async def test_a_caller_that_leaves_before_the_head_ends_the_upstream_call(tmp_path: Path) -> None:
    async def script(request: Request, conn: Conn) -> None:
        await conn.wait_closed_by_peer()

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        async with asyncio.timeout(PATIENCE_S):
            while not upstream.requests:
                await asyncio.sleep(0.01)
        caller.close()
        async with asyncio.timeout(PATIENCE_S):
            await upstream.requests[0].closed.wait()
        record = await proxy.record()
    assert (record.outcome, record.status) == ("abandoned", 0)


@pytest.mark.parametrize("after_head", [True, False])
async def test_an_abandoned_reply_is_drained_for_its_usage_when_configured(tmp_path: Path, after_head: bool) -> None:
    left = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        if after_head:
            await conn.send(SSE_HEAD + chunk(event(DELTAS[0])))
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        if not after_head:
            await conn.send(SSE_HEAD + chunk(event(DELTAS[0])))
        for item in [*DELTAS[1:], USAGE, "[DONE]"]:
            await conn.send(chunk(event(item)))
        await conn.send(chunk(b""))

    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, server={"on_disconnect": "drain"}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        if after_head:
            await caller.head()
        else:
            async with asyncio.timeout(PATIENCE_S):
                while not upstream.requests:
                    await asyncio.sleep(0.01)
        caller.close()
        async with asyncio.timeout(PATIENCE_S):
            while proxy.app.server.open:
                await asyncio.sleep(0.01)
        left.set()
        record = await proxy.record()
    assert (record.outcome, record.input_tokens, record.output_tokens) == ("abandoned", 5, 2)


async def test_draining_is_bounded(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(stall_mid_stream(DELTAS)) as upstream,
        proxied(tmp_path, upstream.url, server={"on_disconnect": "drain", "drain_timeout_s": 0.2}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", STREAM))
        await caller.head()
        await caller.chunk()
        caller.close()
        async with asyncio.timeout(PATIENCE_S):
            await upstream.requests[0].closed.wait()
        record = await proxy.record()
    assert (record.outcome, record.usage_source) == ("abandoned", "")


async def test_hundreds_of_idle_streams_stay_open_together(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + chunk(event(DELTAS[1])))
        async with asyncio.timeout(PATIENCE_S):
            await go_on.wait()
        await conn.send(chunk(event("[DONE]")) + chunk(b""))

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        callers = [await Caller.connect(proxy) for _ in range(300)]
        for caller in callers:
            await caller.send(post("/v1/chat/completions", ASKING))
        for caller in callers:
            await caller.head()
            assert await caller.chunk() == event(DELTAS[1])
        assert proxy.app.server.open == 300
        go_on.set()
        for caller in callers:
            assert await caller.chunk() == b"data: [DONE]\n\n"
            assert await caller.chunk() == b""
            caller.close()
        records = proxy.records()
    assert len({record.request_id for record in records}) == len(records) == 300
    assert {record.outcome for record in records} == {"answered"}


async def test_a_slow_caller_holds_the_upstream_back(tmp_path: Path) -> None:
    """40 MB for a caller that does not read: the upstream is stopped long before it has sent them.

    Of these the kernel's four buffers on the way take up to 20 MB."""
    sent = 0

    async def script(request: Request, conn: Conn) -> None:
        nonlocal sent
        await conn.send(SSE_HEAD)
        for _ in range(640):
            await conn.send(chunk(b": " + b"x" * 65534))
            sent += 65536
        await conn.send(chunk(b""))

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await caller.send(post("/v1/chat/completions", ASKING))
        before = -1
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.3)
        held_at = sent
        caller.writer.transport.resume_reading()  # type: ignore[attr-defined]
        _, _, body = await caller.reply()
        caller.close()
    assert held_at < 32 * 1024 * 1024
    assert len(body) == 640 * 65536
