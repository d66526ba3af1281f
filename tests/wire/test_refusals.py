"""Bad input is answered in OpenAI's envelope, says what to do, and is recorded."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import Upstream
from tests.ports import held_port
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post, proxied
from tests.wire.scripted import ScriptedUpstream, chunk, head, json_reply, raw, reply, stall_before_headers
from tests.wire.test_transparency import ANSWER, CHAT


async def ask(proxy: Proxied, request: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    caller = await Caller.connect(proxy)
    await caller.send(request)
    status, headers, body = await caller.reply()
    caller.close()
    return status, {name.lower(): value for name, value in headers}, json.loads(body)


BAD = {
    "not JSON": (b"{", 400, "invalid_json"),
    "not UTF-8": (b'{"model":"\xff"}', 400, "invalid_json"),
    "not an object": (b"[]", 400, "invalid_type"),
    "a model that is a number": (b'{"model":5}', 400, "invalid_type"),
    "a stream that is text": (b'{"model":"m","stream":"yes"}', 400, "invalid_type"),
    "empty": (b"", 400, "invalid_json"),
    "nested without end": (b'{"model":"m","x":' + b"[" * 200_000, 400, "invalid_json"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_body_is_refused(tmp_path: Path, case: str) -> None:
    body, status, code = BAD[case]
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        got, headers, answer = await ask(proxy, post("/v1/chat/completions", body))
        record = await proxy.record()
    assert got == status
    assert answer["error"]["code"] == code
    assert answer["error"]["type"] == "invalid_request_error"
    assert headers["x-penstock-request-id"] == record.request_id
    assert (record.outcome, record.status, record.error_type) == ("rejected", status, code)
    assert upstream.requests == []


async def test_an_unknown_model_is_refused_when_no_upstream_takes_it(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, upstream={"models": ("llama*",)}) as proxy,
    ):
        status, _, answer = await ask(proxy, post("/v1/chat/completions", CHAT))
    assert status == 404
    assert answer["error"]["code"] == "model_not_found"
    assert "gpt-5" in answer["error"]["message"]


async def test_the_first_upstream_whose_pattern_matches_takes_the_call(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as one, ScriptedUpstream(json_reply(ANSWER)) as two:
        more = (Upstream(name="second", base_url=f"{two.url}/deep/v9", api_key="sk-own"),)
        async with proxied(tmp_path, one.url, upstream={"models": ("llama*",)}, more=more) as proxy:
            await ask(proxy, post("/v1/chat/completions", CHAT, ("Authorization", "Bearer sk-caller")))
            await ask(proxy, post("/v1/chat/completions", CHAT.replace(b"gpt-5", b"llama-4")))
            await ask(proxy, post("/v1/embeddings", b'{"model":"x"}', ("x-penstock-upstream", "scripted")))
            status, _, answer = await ask(proxy, post("/v1/embeddings", b"{}", ("x-penstock-upstream", "third")))
            records = proxy.records()
    assert [request.target for request in two.requests] == ["/deep/v9/chat/completions"]
    assert two.requests[0].header("authorization") == "Bearer sk-own"
    assert [request.target for request in one.requests] == ["/v1/chat/completions", "/v1/embeddings"]
    assert (status, answer["error"]["code"]) == (404, "upstream_not_found")
    assert [record.upstream for record in records] == ["second", "scripted", "scripted", ""]
    assert b"sk-own" not in b"".join(frame.payload for frame in proxy.frames())
    assert b"sk-caller" not in b"".join(frame.payload for frame in proxy.frames())


async def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, server={"parsed_body_bytes_max": 100}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n")
        status, _, body = await caller.reply()
        caller.close()
        assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
        caller = await Caller.connect(proxy)
        await caller.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"64\r\n" + b" " * 100 + b"\r\n64\r\n" + b" " * 100 + b"\r\n0\r\n\r\n"
        )  # fmt: skip
        status, _, body = await caller.reply()
        caller.close()
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
    assert upstream.requests == []


async def test_a_bomb_is_refused(tmp_path: Path) -> None:
    import zlib

    bomb = zlib.compress(b" " * 10_000_000)
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, server={"parsed_body_bytes_max": 1_000_000}) as proxy,
    ):
        status, _, answer = await ask(proxy, post("/v1/chat/completions", bomb, ("Content-Encoding", "deflate")))
        assert (status, answer["error"]["code"]) == (413, "body_too_large")
        status, _, answer = await ask(proxy, post("/v1/chat/completions", b"x" * 99, ("Content-Encoding", "gzip")))
        assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
    assert upstream.requests == []


async def test_header_fields_over_the_limit_are_refused(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, server={"header_bytes_max": 2000}) as proxy,
    ):
        status, _, answer = await ask(proxy, post("/v1/chat/completions", CHAT, ("X-Big", "a" * 3000)))
    assert status in (400, 431)
    assert answer["error"]["code"] == "malformed_request"
    assert upstream.requests == []


async def test_a_path_outside_the_api_says_where_the_api_is(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        status, _, answer = await ask(proxy, post("/chat/completions", CHAT))
    assert status == 404
    assert "/v1" in answer["error"]["message"]


KEY = "pk-team-one"
DIGEST = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"


async def test_only_accepted_keys_pass_and_they_do_not_travel_on(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, server={"keys": (DIGEST,)}) as proxy,
    ):
        for headers in (
            [],
            [("Authorization", "Bearer wrong")],
            [("Authorization", "Basic x")],
            [("x-penstock-key", "")],
        ):
            status, _, answer = await ask(proxy, post("/v1/chat/completions", CHAT, *headers))
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
            assert answer["error"]["type"] == "authentication_error"
        assert upstream.requests == []
        status, _, _ = await ask(proxy, post("/v1/chat/completions", CHAT, ("Authorization", f"Bearer {KEY}")))
        assert status == 200
        both = [("x-penstock-key", KEY), ("Authorization", "Bearer sk-own")]
        status, _, _ = await ask(proxy, post("/v1/chat/completions", CHAT, *both))
        assert status == 200
        records = proxy.records()
    assert [request.header("authorization") for request in upstream.requests] == [None, "Bearer sk-own"]
    assert [record.outcome for record in records] == ["rejected"] * 4 + ["answered"] * 2
    assert records[-1].key_id
    assert records[-1].key_id == records[-2].key_id
    assert KEY.encode() not in b"".join(frame.payload for frame in proxy.frames())


async def test_too_many_open_calls_are_refused_with_retry_after(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(stall_before_headers) as upstream,
        proxied(tmp_path, upstream.url, server={"concurrent_max": 2}) as proxy,
    ):
        held = [await Caller.connect(proxy) for _ in range(2)]
        for caller in held:
            await caller.send(post("/v1/chat/completions", CHAT))
        async with asyncio.timeout(PATIENCE_S):
            while len(upstream.requests) < 2:
                await asyncio.sleep(0.01)
        status, headers, answer = await ask(proxy, post("/v1/chat/completions", CHAT))
        for caller in held:
            caller.close()
    assert (status, answer["error"]["type"]) == (503, "overloaded_error")
    assert headers["retry-after"] == "1"


async def test_an_unreachable_upstream_is_a_502(tmp_path: Path) -> None:
    with held_port() as port:
        async with proxied(tmp_path, f"http://127.0.0.1:{port}") as proxy:
            status, _, answer = await ask(proxy, post("/v1/chat/completions", CHAT))
            record = await proxy.record()
    assert status == 502
    assert answer["error"]["type"] == "upstream_error"
    assert (record.outcome, record.error_type) == ("failed", answer["error"]["code"])


async def test_a_host_that_does_not_exist_is_a_502(tmp_path: Path) -> None:
    async with proxied(tmp_path, "http://penstock-does-not-exist.invalid") as proxy:
        status, _, answer = await ask(proxy, post("/v1/chat/completions", CHAT))
    assert (status, answer["error"]["code"]) == (502, "dns_failure")


async def test_an_upstream_that_does_not_answer_is_a_504(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(stall_before_headers) as upstream,
        proxied(tmp_path, upstream.url, upstream={"first_byte_timeout_s": 0.2}) as proxy,
    ):
        status, _, answer = await ask(proxy, post("/v1/chat/completions", CHAT))
        record = await proxy.record()
    assert (status, answer["error"]["code"]) == (504, "first_byte_timeout")
    assert record.outcome == "failed"


@pytest.mark.parametrize("headers", [[], [("Retry-After", "7"), ("retry-after-ms", "7000")]])
async def test_a_rate_limit_of_the_upstream_passes_as_it_is(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    error = {
        "error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    }
    script = json_reply(error, 429, [*headers, ("x-ratelimit-remaining-requests", "0")])
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        status, got, answer = await ask(proxy, post("/v1/chat/completions", CHAT))
        record = await proxy.record()
    assert (status, answer) == (429, error)
    assert {name.lower(): value for name, value in headers}.items() <= got.items()
    assert (record.outcome, record.status) == ("answered", 429)
    assert record.response_headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/images/generations", "/v1/chat/completions"])
@pytest.mark.parametrize("framed", ["whole", "chunked"])
async def test_an_error_of_the_upstream_is_recorded_with_its_words(tmp_path: Path, path: str, framed: str) -> None:
    error = {"error": {"message": "no such model, sk-abcdefghijkl", "type": "invalid_request_error", "code": "gone"}}
    body = json.dumps(error).encode()
    kind = [("Content-Type", "application/json")]
    script = reply(404, kind, body) if framed == "whole" else raw(
        head(404, [*kind, ("Transfer-Encoding", "chunked")]) + chunk(body) + chunk(b"")
    )  # fmt: skip
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        status, _, answer = await ask(proxy, post(path, b'{"model":"m"}'))
        record = await proxy.record()
    assert (status, answer) == (404, error)
    assert (record.outcome, record.error_type) == ("answered", "gone")
    assert record.error_message == "no such model, …"


async def test_a_defect_of_our_own_is_answered_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        proxy.app.forward._by_model["gpt-5"] = None  # type: ignore[assignment]
        proxy.app.forward._routes = ()
        status, _, answer = await ask(proxy, post("/v1/models", b""))
        record = await proxy.record()
    assert (status, answer["error"]["code"]) == (500, "internal_error")
    assert record.outcome == "failed"
    assert "defect" in caplog.text


async def test_what_leaves_before_its_body_is_whole_is_recorded_as_abandoned(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT)[:-10])
        async with asyncio.timeout(PATIENCE_S):
            while not proxy.app.server.open:
                await asyncio.sleep(0.01)
        caller.close()
        record = await proxy.record()
    assert (record.outcome, record.status) == ("abandoned", 0)
    assert upstream.requests == []
