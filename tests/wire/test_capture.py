"""What of a call is kept: all of it, up to a limit; without what is private; or no text at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from proxy.metering.complete import completer
from proxy.settings import Server, Settings
from tests.wire.proxied import Caller, Proxied, post, proxied
from tests.wire.scripted import SSE_HEAD, ScriptedUpstream, chunk, chunked, event, head, json_reply, raw, reply, sse
from tests.wire.test_streams import DELTAS, USAGE
from tests.wire.test_transparency import ANSWER

SECRET = "sk-proj-abcdefghijklmnopqrstuvwx123456"
ASKED = {
    "model": "gpt-5",
    "temperature": 0.5,
    "messages": [{"role": "user", "content": f"mail ada@example.org {SECRET}"}],
}
ANSWERED = ANSWER | {
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "write to bob@example.org"}, "finish_reason": "stop"}
    ]
}


async def call(proxy: Proxied, body: bytes, *headers: tuple[str, str], path: str = "/v1/chat/completions") -> bytes:
    caller = await Caller.connect(proxy)
    await caller.send(post(path, body, *headers))
    _, _, answer = await caller.reply()
    caller.close()
    return answer


def spooled(proxy: Proxied) -> bytes:
    return b"".join(frame.payload for frame in proxy.frames())


@pytest.mark.parametrize("stream", [False, True])
async def test_redacted_text_is_redacted_before_it_is_on_disk(tmp_path: Path, stream: bool) -> None:
    """The address is cut in two by the stream; it must not survive for that."""
    deltas = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("write to bob@exa", "mple.org")]
    script = sse([*deltas, USAGE]) if stream else json_reply(ANSWERED)
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, record={"content": "redacted"}) as proxy,
    ):
        answer = await call(proxy, json.dumps(ASKED | {"stream": stream}).encode())
        record = await proxy.record()
        kept = spooled(proxy)
    assert b"bob@exa" in answer, "the caller gets what the upstream said"
    assert upstream.requests[0].json()["messages"] == ASKED["messages"]
    for private in (b"ada@example.org", SECRET.encode(), b"bob@", b"mple.org"):
        assert private not in kept
    assert "[EMAIL]" in (record.output_messages or "")
    assert "[EMAIL]" in (record.input_messages or "")
    assert record.input_tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_no_text_is_on_disk_when_capture_is_off(tmp_path: Path, stream: bool) -> None:
    script = sse([*DELTAS, USAGE]) if stream else json_reply(ANSWERED)
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, record={"content": "off"}) as proxy,
    ):
        await call(proxy, json.dumps(ASKED | {"stream": stream}).encode())
        record = await proxy.record()
        kept = spooled(proxy)
    for text in (b"ada@", b"write to", b"hel", SECRET.encode()):
        assert text not in kept
    assert record.input_messages is record.output_messages is None
    assert record.parameters["temperature"] == 0.5
    assert (record.request_model, record.outcome, record.finish_reasons) == (
        "gpt-5",
        "answered",
        [] if stream else ["stop"],
    )
    assert record.input_tokens


async def test_capture_stops_at_its_limit_and_metering_does_not(tmp_path: Path) -> None:
    long = {"choices": [{"index": 0, "delta": {"content": "x" * 3000}}]}
    async with (
        ScriptedUpstream(sse([long, long, USAGE])) as upstream,
        proxied(tmp_path, upstream.url, record={"capture_bytes_max": 4000}) as proxy,
    ):
        answer = await call(proxy, b'{"model":"m","stream":true,"messages":[]}')
        record = await proxy.record()
    assert answer.count(b"x" * 3000) == 2
    assert len(record.response_body or b"") == 4000
    assert record.truncated
    assert (record.input_tokens, record.output_tokens) == (5, 2)


async def test_vectors_are_metered_but_not_kept(tmp_path: Path) -> None:
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.5] * 1000}]
    answer = {"object": "list", "data": vectors, "model": "e", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    async with ScriptedUpstream(json_reply(answer)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        got = await call(proxy, b'{"model":"e","input":"hi"}', path="/v1/embeddings")
        record = await proxy.record()
    assert json.loads(got) == answer
    assert (record.input_tokens, record.response_body) == (8, None)
    assert record.request_body


async def test_a_reply_too_long_to_hold_is_metered_by_its_end(tmp_path: Path) -> None:
    body = b'{"data":[' + b"0.25," * 2_000_000 + b'0],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}'
    script = chunked(
        [body[i : i + 100_000] for i in range(0, len(body), 100_000)], [("Content-Type", "application/json")]
    )
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        got = await call(proxy, b'{"model":"e","input":"hi"}', path="/v1/embeddings")
        record = await proxy.record()
    assert got == body
    assert (record.input_tokens, record.response_bytes) == (8, len(body))


async def test_a_stream_with_a_length_loses_it_with_the_hidden_chunk(tmp_path: Path) -> None:
    stream = b"".join(event(item) for item in [*DELTAS, USAGE, "[DONE]"])
    async with (
        ScriptedUpstream(reply(200, [("Content-Type", "text/event-stream")], stream)) as upstream,
        proxied(tmp_path, upstream.url) as proxy,
    ):
        got = await call(proxy, b'{"model":"m","stream":true,"messages":[]}')
    assert got == b"".join(event(item) for item in [*DELTAS, "[DONE]"])


async def test_a_coded_request_is_read_and_asked_for_usage_plainly(tmp_path: Path) -> None:
    body = b'{"model":"llama","stream":true,"messages":[]}'
    async with ScriptedUpstream(sse([*DELTAS, USAGE])) as upstream, proxied(tmp_path, upstream.url) as proxy:
        await call(proxy, gzip.compress(body), ("Content-Encoding", "gzip"))
        record = await proxy.record()
    assert upstream.requests[0].json()["stream_options"] == {"include_usage": True}
    assert upstream.requests[0].header("content-encoding") is None
    assert record.request_model == "llama"


async def test_a_coded_request_that_nothing_touches_stays_coded(tmp_path: Path) -> None:
    coded = gzip.compress(b'{"model":"llama","messages":[]}')
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        await call(proxy, coded, ("Content-Encoding", "gzip"))
    assert upstream.requests[0].body == coded
    assert upstream.requests[0].header("content-encoding") == "gzip"


async def test_an_upstream_that_codes_although_asked_not_to_is_decoded(tmp_path: Path) -> None:
    """The usage chunk must be taken out, so the stream goes on plain."""
    stream = b"".join(event(item) for item in [*DELTAS, USAGE, "[DONE]"])
    coded = gzip.compress(stream)
    lines = [("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip"), ("Content-Length", str(len(coded)))]
    async with ScriptedUpstream(raw(head(200, lines) + coded)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", b'{"model":"m","stream":true,"messages":[]}'))
        _, headers, got = await caller.reply()
        caller.close()
    assert got == b"".join(event(item) for item in [*DELTAS, "[DONE]"])
    assert "content-encoding" not in {name.lower() for name, _ in headers}


async def test_an_abandoned_stream_without_usage_is_left_to_the_estimate(tmp_path: Path) -> None:
    async def script(request: object, conn: object) -> None:
        await conn.send(SSE_HEAD + chunk(event(DELTAS[1])))  # type: ignore[attr-defined]
        await conn.wait_closed_by_peer()  # type: ignore[attr-defined]

    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", json.dumps(ASKED | {"stream": True}).encode()))
        await caller.head()
        await caller.chunk()
        caller.close()
        record = await proxy.record()
    assert record.usage_source == ""
    completed = completer(Settings(server=Server(data_dir=str(tmp_path))))(record)
    assert completed.usage_source == "estimated"
    assert completed.output_tokens
