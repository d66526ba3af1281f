"""What no feature touches arrives as it was sent, in both directions."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard

from tests.wire.proxied import PATIENCE_S, Caller, post, proxied
from tests.wire.scripted import Conn, Request, ScriptedUpstream, chunked, head, json_reply, raw, reply

CHAT = b'{ "model":"gpt-5", "messages" : [{"role":"user","content":"caf\\u00e9 \xc3\xa9"}],"temperature":1.0e0 }'
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-2025-08-07",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
}


async def test_a_request_arrives_byte_for_byte(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        sent = [
            ("X-StainLess-lang", "python"),
            ("AUTHORIZATION", "Bearer sk-caller"),
            ("Cookie", "a=1"),
            ("cookie", "b=2"),
            ("x-empty", ""),
            ("OpenAI-Beta", "assistants=v2"),
            ("Accept-Encoding", "gzip, br"),
        ]
        await caller.send(post("/v1/chat/completions?api-version=2024%2F10&x=%20y&x=z", CHAT, *sent))
        status, _, _ = await caller.reply()
        caller.close()
    assert status == 200
    (request,) = upstream.requests
    assert request.target == "/v1/chat/completions?api-version=2024%2F10&x=%20y&x=z"
    assert request.body == CHAT
    got = [(name.decode(), value.decode()) for name, value in request.headers]
    assert got[0] == ("Host", upstream.url.removeprefix("http://"))
    assert [pair for pair in got if pair[0] not in ("Host", "Content-Length")] == [
        ("Content-Type", "application/json"),
        *sent,
    ]


async def test_a_reply_comes_back_byte_for_byte(tmp_path: Path) -> None:
    body = json.dumps(ANSWER).encode()
    headers = [
        ("content-TYPE", "application/json"),
        ("x-Request-ID", "req_1"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Latin", "caf\xe9"),
        ("Date", "Mon, 23 Nov 2026 02:00:00 GMT"),
        ("Server", "cloudflare"),
    ]
    async with (
        ScriptedUpstream(reply(200, headers, body, reason="Fine")) as upstream,
        proxied(tmp_path, upstream.url) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT))
        first = await caller.reader.readline()
        status, got = 0, []
        while (line := await caller.reader.readline()) != b"\r\n":
            got.append(tuple(line.decode("latin-1").rstrip("\r\n").split(": ", 1)))
        received = await caller.reader.readexactly(len(body))
        caller.close()
    assert first == b"HTTP/1.1 200 Fine\r\n", status
    assert [pair for pair in got if not pair[0].startswith("x-penstock")] == [
        *headers,
        ("Content-Length", str(len(body))),
    ]
    assert received == body


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
async def test_a_coded_reply_passes_as_it_is_and_is_metered(tmp_path: Path, coding: str, encode: object) -> None:
    coded = encode(json.dumps(ANSWER).encode())  # type: ignore[operator]
    script = reply(200, [("Content-Type", "application/json"), ("Content-Encoding", coding)], coded)
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT, ("Accept-Encoding", coding)))
        _, headers, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert body == coded
    assert ("Content-Encoding", coding) in headers
    assert (record.input_tokens, record.output_tokens) == (19, 10)
    assert record.response_bytes == len(coded)


async def test_a_coded_stream_passes_as_it_is_and_is_metered(tmp_path: Path) -> None:
    text = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":3,'
    text += b'"completion_tokens":4}}\n\ndata: [DONE]\n\n'
    coded = gzip.compress(text)
    pieces = [coded[index : index + 7] for index in range(0, len(coded), 7)]
    script = chunked(pieces, [("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")])
    asking = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", asking))
        _, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert body == coded
    assert (record.input_tokens, record.output_tokens, record.outcome) == (3, 4, "answered")
    assert upstream.requests[0].body == asking


async def test_hop_by_hop_fields_stay_on_their_hop(tmp_path: Path) -> None:
    answered = [
        ("Connection", "x-hop, keep-alive"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("X-End", "1"),
        ("Trailer", "X-T"),
    ]
    async with (
        ScriptedUpstream(json_reply(ANSWER, 200, answered)) as upstream,
        proxied(tmp_path, upstream.url) as proxy,
    ):
        caller = await Caller.connect(proxy)
        sent = [
            ("Connection", "X-Private, keep-alive"),
            ("X-Private", "secret"),
            ("TE", "trailers"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Keep-Alive", "300"),
            ("X-Public", "1"),
            ("x-penstock-tags", "a=b"),
            ("X-Penstock-Unknown", "1"),
        ]
        await caller.send(post("/v1/chat/completions", CHAT, *sent))
        _, headers, _ = await caller.reply()
        caller.close()
    names = {name.decode().lower() for name, _ in upstream.requests[0].headers}
    assert names == {"host", "content-type", "content-length", "x-public"}
    assert {name.lower() for name, _ in headers} == {
        "content-type",
        "content-length",
        "x-end",
        "x-penstock-request-id",
        "x-penstock-tokens",
    }


async def test_a_multipart_upload_streams_through(tmp_path: Path) -> None:
    """The upstream has the first part while the caller still sends the last: nothing waits for the whole."""
    seen = asyncio.Event()
    received = bytearray()

    async def script(request: Request, conn: Conn) -> None:
        while piece := await conn.read_some():
            received.extend(piece)
            seen.set()
            if received.endswith(b"0\r\n\r\n"):
                break
        await conn.send(head(200, [("Content-Length", "2")]) + b"ok")

    async with ScriptedUpstream(script, read_body=False) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(
            b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n6\r\n--b\r\nA\r\n"
        )
        async with asyncio.timeout(PATIENCE_S):
            await seen.wait()
        await caller.send(b"3\r\nend\r\n0\r\n\r\n")
        status, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert (status, body) == (200, b"ok")
    assert b"--b\r\nA" in received
    assert b"end" in received
    assert (record.endpoint, record.path, record.request_bytes) == ("other", "/v1/files", 9)


async def test_expect_100_continue_is_answered_when_the_body_is_wanted(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        request = post("/v1/chat/completions", CHAT, ("Expect", "100-continue"))
        await caller.send(request[: -len(CHAT)])
        async with asyncio.timeout(PATIENCE_S):
            assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.send(CHAT)
        status, _, _ = await caller.reply()
        caller.close()
    assert status == 200
    assert upstream.requests[0].header("expect") is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "PUT"])
async def test_every_method_on_an_unknown_path_passes(tmp_path: Path, method: str) -> None:
    script = reply(200, [("Content-Type", "text/plain"), ("ETag", '"1"')], b"body")
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(f"{method} /v1/some/future%2Fthing?a=b HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers = await caller.head()
        assert status == 200
        assert ("ETag", '"1"') in headers
        assert dict(headers)["Content-Length"] == "4"
        if method != "HEAD":
            assert await caller.reader.readexactly(4) == b"body"
        await caller.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, body = await caller.reply()
        caller.close()
    assert (status, body) == (200, b"body")
    assert upstream.requests[0].target == "/v1/some/future%2Fthing?a=b"
    assert upstream.requests[0].method == method
    assert [r.path for r in proxy.records()] == ["/v1/some/future%2Fthing", "/v1/models"]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_without_a_body(tmp_path: Path, status: int) -> None:
    async with ScriptedUpstream(reply(status)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"DELETE /v1/files/f HTTP/1.1\r\nHost: x\r\n\r\n")
        got, headers = await caller.head()
        assert got == status
        assert not {"content-length", "transfer-encoding"} & {name.lower() for name, _ in headers}
        await caller.send(b"DELETE /v1/files/g HTTP/1.1\r\nHost: x\r\n\r\n")
        got, _ = await caller.head()
        assert got == status
        caller.close()


async def test_binary_audio_passes(tmp_path: Path) -> None:
    audio = bytes(range(256)) * 2000
    script = chunked([audio[i : i + 50_000] for i in range(0, len(audio), 50_000)], [("Content-Type", "audio/mpeg")])
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/audio/speech", b'{"model":"tts-1","input":"hi","voice":"alloy"}'))
        _, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert body == audio
    assert (record.request_model, record.response_bytes) == ("tts-1", len(audio))
    assert record.request_body is None
    assert record.response_body is None


async def test_an_upgrade_that_is_no_websocket_is_ignored(tmp_path: Path) -> None:
    """Some HTTP libraries offer HTTP/2 on every first request; the body must not get lost over it."""
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        offer = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAEAAEAAAAIAAAAB")]
        await caller.send(post("/v1/chat/completions", CHAT, *offer))
        status, _, _ = await caller.reply()
        caller.close()
    assert status == 200
    assert upstream.requests[0].body == CHAT
    assert upstream.requests[0].header("upgrade") is None
    assert upstream.requests[0].header("http2-settings") is None


async def test_http_1_0_callers_get_a_body_that_ends_with_the_connection(tmp_path: Path) -> None:
    script = chunked([b"one", b"two"], [("Content-Type", "text/plain")])
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"GET /v1/files/f/content HTTP/1.0\r\n\r\n")
        _, headers, body = await caller.reply()
        caller.close()
    assert body == b"onetwo"
    assert "transfer-encoding" not in {name.lower() for name, _ in headers}


SMUGGLING = {
    "both framings": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a signed length": b"Content-Length: +4\r\n\r\nabcd",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 4\r\n\r\nabcd",
    "a folded field": b"X-A: b\r\n c\r\nContent-Length: 4\r\n\r\nabcd",
    "a bare CR": b"X-A: b\rContent-Length: 4\r\n\r\nabcd",
    "a bad chunk size": b"Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n",
    "a NUL": b"X-A: b\x00c\r\nContent-Length: 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("shape", SMUGGLING)
async def test_smuggling_shapes_are_refused(tmp_path: Path, shape: str) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"POST /v1/files HTTP/1.1\r\nHost: x\r\n" + SMUGGLING[shape])
        status, _, body = await caller.reply()
        async with asyncio.timeout(PATIENCE_S):
            assert await caller.reader.read() == b"", "the connection is closed"
        caller.close()
    assert status == 400
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert all(not request.body for request in upstream.requests)


@pytest.mark.parametrize(
    "path", ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/x/..%2fadmin", "/v1/..\\admin", "/v1/.%2E/admin", "/v1/./x"]
)
async def test_a_path_cannot_leave_the_base_url(tmp_path: Path, path: str) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, _, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert status == 400
    assert json.loads(body)["error"]["code"] == "invalid_path"
    assert upstream.requests == []
    assert record.outcome == "rejected"


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    script = raw(head(200, [("Content-Length", "2")]) + b"ok")
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"".join(b"GET /v1/models/%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5)))
        for _ in range(5):
            assert (await caller.reply())[2] == b"ok"
        caller.close()
    assert [request.target for request in upstream.requests] == [f"/v1/models/{n}" for n in range(5)]
