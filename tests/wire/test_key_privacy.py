"""A key goes to the one it is for, and to nobody else; no text stays that was not to be kept."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.wire.proxied import PATIENCE_S, Caller, post, proxied
from tests.wire.scripted import ScriptedUpstream, json_reply
from tests.wire.test_transparency import ANSWER, CHAT
from tests.wire.test_websocket import HEADERS, realtime

KEYS = {"keys": ("sha256:" + hashlib.sha256(b"pk-team").hexdigest(),)}


async def test_a_penstock_key_stays_here_even_when_it_is_sent_twice(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url, server=KEYS) as proxy:
        caller = await Caller.connect(proxy)
        both = (("x-penstock-key", "pk-team"), ("Authorization", "Bearer pk-team"))
        await caller.send(post("/v1/chat/completions", CHAT, *both))
        await caller.reply()
        caller.close()
    assert b"pk-team" not in str(upstream.requests[0].headers).encode()


async def test_an_upstream_with_a_key_of_its_own_gets_no_other(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, upstream={"api_key": "sk-own"}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        theirs = tuple((name, "sk-caller") for name in ("Authorization", "api-key", "X-Api-Key"))
        await caller.send(post("/v1/chat/completions", CHAT, *theirs))
        await caller.reply()
        caller.close()
    assert "sk-caller" not in str(upstream.requests[0].headers)
    assert "Bearer sk-own" in str(upstream.requests[0].headers)


async def test_a_refused_request_is_not_quoted_in_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-secret\x01\r\n\r\n")
        assert (await caller.head())[0] == 400
        caller.close()
    assert "sk-secret" not in caplog.text


async def say_hello(socket: web.WebSocketResponse, request: web.Request) -> None:
    await socket.send_str("hello")
    await socket.close()


async def test_a_cookie_for_one_caller_s_websocket_is_not_sent_with_another_s(tmp_path: Path) -> None:
    async def set_cookie(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Set-Cookie"] = "session=of-the-first; Path=/"

    # Cookies are kept for names only, so the upstream has one.
    async with (
        realtime(say_hello, set_cookie) as (url, seen),
        proxied(tmp_path, url.replace("127.0.0.1", "localhost")) as proxy,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        for _ in range(2):
            async with session.ws_connect(f"{proxy.url}/realtime", headers=HEADERS) as socket:
                await socket.receive(timeout=PATIENCE_S)
    assert [request.headers.get("Cookie") for request in seen] == [None, None]


async def test_a_websocket_s_target_goes_on_as_it_came(tmp_path: Path) -> None:
    async with realtime(say_hello) as (url, seen), proxied(tmp_path, url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(
            b"GET /v1/realtime?model=gpt%2Dr%7e&x=a+b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Authorization: Bearer sk-caller\r\n\r\n"
        )
        assert (await caller.head())[0] == 101
        caller.close()
        await proxy.record()
    assert seen[0].raw_path == "/v1/realtime?model=gpt%2Dr%7e&x=a+b"
    assert "User-Agent" not in seen[0].headers


@pytest.mark.parametrize("own", [None, "sk-caller"])
async def test_a_key_among_the_subprotocols_is_a_key(tmp_path: Path, own: str | None) -> None:
    """Browsers cannot send Authorization with a WebSocket, so OpenAI takes the key as a subprotocol."""
    upstream = {"api_key": own} if own else {}
    async with realtime(say_hello) as (url, seen), proxied(tmp_path, url, server=KEYS, upstream=upstream) as proxy:
        async with aiohttp.ClientSession() as session:
            protocols = ["realtime", "openai-insecure-api-key.pk-team"]
            try:
                async with session.ws_connect(f"{proxy.url}/realtime", protocols=protocols) as socket:
                    await socket.receive(timeout=PATIENCE_S)
            except aiohttp.WSServerHandshakeError:
                assert own is None
        record = await proxy.record()
    assert record.key_id
    assert "pk-team" not in str(seen[0].headers)


async def test_an_upstream_with_a_key_of_its_own_does_not_get_the_subprotocol_s(tmp_path: Path) -> None:
    own = {"api_key": "sk-caller"}
    protocols = ["realtime", "openai-insecure-api-key.sk-other"]
    async with (
        realtime(say_hello) as (url, seen),
        proxied(tmp_path, url, upstream=own) as proxy,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{proxy.url}/realtime", protocols=protocols) as socket,
    ):
        await socket.receive(timeout=PATIENCE_S)
    assert "sk-other" not in str(seen[0].headers)


async def test_nothing_that_a_caller_worded_is_kept_when_content_is_off(tmp_path: Path) -> None:
    worded = {"stop": ["SECRET"], "response_format": {"type": "json_schema", "json_schema": {"name": "SECRET"}}}
    body = json.dumps({"model": "gpt-5", "temperature": 0.5, "messages": [], **worded}).encode()
    off = {"content": "off"}
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url, record=off) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", body))
        await caller.reply()
        caller.close()
        record = await proxy.record()
        assert b"SECRET" not in b"".join(frame.payload for frame in proxy.frames())
    assert record.parameters == {"temperature": 0.5}


async def test_a_worker_remembers_no_text(tmp_path: Path) -> None:
    redacted = {"content": "redacted"}
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, record=redacted) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT))
        await caller.reply()
        caller.close()
        assert (await proxy.record()).input_messages is not None
        [remembered] = proxy.app.record._journal.recent.values()
    assert remembered.input_messages is None
    assert remembered.output_messages is None
