"""Requests at the edge of what HTTP allows: passed on as they are or refused, recorded once in either case."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from pathlib import Path

import pytest

from tests.wire.proxied import PATIENCE_S, Caller, post, proxied
from tests.wire.scripted import ScriptedUpstream, json_reply
from tests.wire.test_transparency import ANSWER, CHAT

LARGE = json.dumps({"model": "gpt-5", "prompt": "a" * 2_000_000}).encode()


@pytest.mark.parametrize("coding", ["gzip", "exotic"])
async def test_a_coded_body_that_is_only_looked_at_for_its_model_passes(tmp_path: Path, coding: str) -> None:
    body = gzip.compress(LARGE)
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/images/generations", body, ("Content-Encoding", coding)))
        status, _, _ = await caller.reply()
        caller.close()
        record = await proxy.record()
    assert status == 200
    assert upstream.requests[0].body == body
    assert record.outcome == "answered"


async def test_a_path_that_is_not_utf_8_passes_and_is_recorded(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(b"GET /v1/files/\xff\xc3?q=\xfe HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, _ = await caller.reply()
        caller.close()
        records = proxy.records()
    if status == 400:  # the parser takes no such octets
        assert upstream.requests == []
        return
    assert status == 200
    assert upstream.requests[0].target.encode("latin-1") == b"/v1/files/\xff\xc3?q=\xfe"
    assert len(records) == 1


async def test_a_refusal_before_the_body_ends_the_connection(tmp_path: Path) -> None:
    """A caller that waits for 100 Continue keeps its body back; its next request must not be read as that body."""
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, server={"parsed_body_bytes_max": 10}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n"
        )
        status, headers, _ = await caller.reply()
        caller.close()
    assert status == 413
    assert ("Connection", "close") in headers


async def test_a_body_that_stops_coming_is_given_up(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        proxy.app.server.limits.body_idle_s = 0.05
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT)[:-5])
        status, _, body = await caller.reply()
        caller.close()
        record = await proxy.record()
    assert status == 408
    assert json.loads(body)["error"]["code"] == "body_timeout"
    assert (record.outcome, record.error_type) == ("rejected", "body_timeout")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_that_brings_no_request_is_closed(tmp_path: Path, sent: bytes) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        proxy.app.server.limits.head_s = 0.05
        caller = await Caller.connect(proxy)
        # What comes when it is already being closed is answered with a reset.
        with contextlib.suppress(ConnectionResetError):
            await caller.send(sent)
            async with asyncio.timeout(PATIENCE_S):
                assert await caller.reader.read() == b""
        caller.close()
        assert proxy.records() == []


async def test_a_transfer_coding_that_would_be_lost_is_refused(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(
            b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        status, _, _ = await caller.reply()
        caller.close()
        record = await proxy.record()
    assert upstream.requests == []
    assert (status, record.error_type) == (501, "unsupported_transfer_coding")


async def test_an_upgrade_that_is_no_websocket_is_refused(tmp_path: Path) -> None:
    """What follows such a head is no body to the parser, so it would be lost."""
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/files", b'{"a":1}', ("Connection", "Upgrade"), ("Upgrade", "websocket")))
        status, headers, _ = await caller.reply()
        caller.close()
        record = await proxy.record()
    assert upstream.requests == []
    assert (status, record.outcome) == (400, "rejected")
    assert ("Connection", "close") in headers
