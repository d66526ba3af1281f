"""A response made in the background is counted once, however often it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from proxy.background import KEPT_S, Claims
from tests.wire.proxied import Proxied, proxied
from tests.wire.scripted import ScriptedUpstream, event, in_turn, json_reply, sse

USAGE = {"input_tokens": 11, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}


def response(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "background": True, "model": "gpt-5", "status": status, **more}


async def ask(proxy: Proxied, method: str, path: str, body: object = None) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        content = json.dumps(body).encode() if body is not None else None
        headers = {"content-type": "application/json"} if body is not None else {}
        await client.request(method, f"http://127.0.0.1:{proxy.port}{path}", content=content, headers=headers)


async def test_polling_counts_the_usage_once(tmp_path: Path) -> None:
    script = in_turn(
        json_reply(response("queued", usage=None)),
        json_reply(response("in_progress", usage=None)),
        json_reply(response("completed", usage=USAGE)),
    )
    async with ScriptedUpstream(script) as upstream, proxied(tmp_path, upstream.url) as proxy:
        await ask(proxy, "POST", "/v1/responses", {"model": "gpt-5", "background": True, "input": "hi"})
        for _ in range(4):
            await ask(proxy, "GET", "/v1/responses/resp_1")
        records = proxy.records()
    assert [record.input_tokens for record in records] == [None, None, 11, None, None]
    assert records[2].reasoning_tokens == 2
    assert {record.response_id for record in records} == {"resp_1"}
    assert records[0].usage_source == "upstream", "nobody is to estimate it"


async def test_a_stream_taken_up_again_does_not_count_again(tmp_path: Path) -> None:
    events = [event({"type": "response.completed", "response": response("completed", usage=USAGE)})]
    async with ScriptedUpstream(sse(events, done=False)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        body = {"model": "gpt-5", "background": True, "stream": True, "input": "hi"}
        await ask(proxy, "POST", "/v1/responses", body)
        await ask(proxy, "GET", "/v1/responses/resp_1?stream=true&starting_after=3")
        records = proxy.records()
    assert [record.output_tokens for record in records] == [5, None]


async def test_reading_an_ordinary_stored_response_counts_nothing(tmp_path: Path) -> None:
    stored = response("completed", usage=USAGE) | {"background": False}
    async with ScriptedUpstream(json_reply(stored)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        await ask(proxy, "POST", "/v1/responses", {"model": "gpt-5", "input": "hi"})
        await ask(proxy, "GET", "/v1/responses/resp_1")
        records = proxy.records()
    assert [record.output_tokens for record in records] == [5, None]


def test_claims_hold_between_processes_and_are_forgotten_in_time(tmp_path: Path) -> None:
    one, two = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    one.forget_old()
    assert one.claim("resp_1")
    assert not two.claim("resp_1")
    two.forget_old()
    assert not one.claim("resp_1")
    two.forget_old(now_s=(tmp_path / "claims").stat().st_mtime + KEPT_S + 60)
    assert one.claim("resp_1")
