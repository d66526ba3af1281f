"""The endpoints below /penstock/."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from exporters.frames import Kind
from exporters.record import decode_feedback
from exporters.trace_context import new_request_id
from tests.wire.proxied import PATIENCE_S, Proxied, proxied
from tests.wire.scripted import ScriptedUpstream, json_reply
from tests.wire.test_refusals import DIGEST, KEY
from tests.wire.test_transparency import ANSWER, CHAT


async def ask(proxy: Proxied, method: str, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        return await client.request(method, f"http://127.0.0.1:{proxy.port}{path}", **more)


async def test_health_and_ready(tmp_path: Path) -> None:
    async with proxied(tmp_path, "http://127.0.0.1:9", server={"keys": (DIGEST,)}) as proxy:
        assert (await ask(proxy, "GET", "/penstock/health")).json() == {"status": "ok"}
        assert (await ask(proxy, "GET", "/penstock/ready")).json() == {"status": "ready"}
        proxy.app.server.draining = True
        ready = await ask(proxy, "GET", "/penstock/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, "shutting down")
        assert (await ask(proxy, "GET", "/penstock/health")).status_code == 200
        assert proxy.frames()[1:] == [], "they are not exchanges"


async def test_a_call_can_be_asked_for_as_soon_as_it_ended(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        reply = await ask(proxy, "POST", "/v1/chat/completions", content=CHAT)
        request_id = reply.headers["x-penstock-request-id"]
        told = (await ask(proxy, "GET", f"/penstock/requests/{request_id}")).json()
        missing = await ask(proxy, "GET", "/penstock/requests/0123")
    assert (told["request_id"], told["input_tokens"], told["outcome"]) == (request_id, 19, "answered")
    assert told["duration_ms"] > 0
    assert reply.headers["x-penstock-tokens"] == "input=19, output=10"
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "request_not_found")
    assert proxy.lookups == ["0123"]


async def test_a_call_that_is_on_its_way_to_the_store_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.endpoints._YOUNG_S", PATIENCE_S)
    young = new_request_id(time.time_ns())
    old = new_request_id(time.time_ns() - 3_600_000_000_000)
    async with proxied(tmp_path, "http://127.0.0.1:9") as proxy:
        proxy.arrives_at_lookup = 3
        found = await ask(proxy, "GET", f"/penstock/requests/{young}")
        missing = await ask(proxy, "GET", f"/penstock/requests/{old}")
    assert (found.status_code, found.json()) == (200, {"request_id": young})
    assert missing.status_code == 404
    assert proxy.lookups == [young, young, young, old]


async def test_feedback_goes_into_the_spool(tmp_path: Path) -> None:
    body = {"response_id": "chatcmpl-1", "score": 0.5, "label": "good", "comment": "é", "correction": [{"role": "x"}]}
    async with proxied(tmp_path, "http://127.0.0.1:9") as proxy:
        reply = await ask(proxy, "POST", "/penstock/feedback", json=body)
        (frame,) = [frame for frame in proxy.frames() if frame.kind == Kind.FEEDBACK]
    feedback = decode_feedback(frame.payload)
    assert reply.status_code == 202
    assert reply.json() == {"id": feedback.id}
    assert (feedback.response_id, feedback.score, feedback.label) == ("chatcmpl-1", 0.5, "good")
    assert json.loads(feedback.correction or "") == [{"role": "x"}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_feedback"),
        (b'{"score": 1}', "missing_id"),
        (b'{"request_id": "x"}', "empty_feedback"),
        (b'{"request_id": "x", "score": "high"}', "invalid_feedback"),
        (b'{"request_id": "x", "scoer": 1}', "invalid_feedback"),
        (b'{"request_id": "x", "score": 1, "kind": "guess"}', "invalid_feedback"),
        (b"[]", "invalid_feedback"),
        (json.dumps([{"request_id": "x", "score": 1}] * 1001).encode(), "invalid_feedback"),
        (b'[{"request_id": "x", "score": 1}, {"score": 1}]', "missing_id"),
        (b'[{"request_id": "x", "score": 1}, {"request_id": "x"}]', "empty_feedback"),
    ],
)
async def test_bad_feedback_is_refused(tmp_path: Path, body: bytes, code: str) -> None:
    async with proxied(tmp_path, "http://127.0.0.1:9") as proxy:
        reply = await ask(proxy, "POST", "/penstock/feedback", content=body)
        assert [frame.kind for frame in proxy.frames()[1:]] == []
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)


async def test_scores_of_an_evaluation_come_as_a_list_and_are_the_same_rows_when_sent_again(tmp_path: Path) -> None:
    items = [{"request_id": f"r{n}", "name": "f1", "score": n, "kind": "evaluation", "run": "e1"} for n in range(3)]
    async with proxied(tmp_path, "http://127.0.0.1:9", server={"keys": (DIGEST,)}) as proxy:
        sent = [
            await ask(proxy, "POST", "/penstock/feedback", json=items, headers=headers)
            for headers in ({"Idempotency-Key": "e1:0"}, {"Idempotency-Key": "e1:0"}, {"Idempotency-Key": "e1:1"}, {})
            for headers in (headers | {"Authorization": f"Bearer {KEY}"},)
        ]
        kept = [decode_feedback(frame.payload) for frame in proxy.frames() if frame.kind == Kind.FEEDBACK]
        odd = await ask(
            proxy,
            "POST",
            "/penstock/feedback",
            json=items,
            headers={"Idempotency-Key": "k" * 256, "Authorization": f"Bearer {KEY}"},
        )
    assert [reply.status_code for reply in sent] == [202] * 4
    first, again, other, unnamed = (reply.json()["ids"] for reply in sent)
    assert first == again
    assert len({*first, *other, *unnamed}) == 9
    assert [one.id for one in kept] == [*first, *again, *other, *unnamed]
    assert {(one.kind, one.run) for one in kept} == {("evaluation", "e1")}
    assert [(one.request_id, one.score) for one in kept[:3]] == [("r0", 0), ("r1", 1), ("r2", 2)]
    assert (odd.status_code, odd.json()["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_they_ask_for_a_key_when_keys_are_configured(tmp_path: Path) -> None:
    async with proxied(tmp_path, "http://127.0.0.1:9", server={"keys": (DIGEST,)}) as proxy:
        for method, path in (("GET", "/penstock/requests/x"), ("POST", "/penstock/feedback")):
            reply = await ask(proxy, method, path)
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        reply = await ask(proxy, "GET", "/penstock/requests/x", headers={"Authorization": f"Bearer {KEY}"})
        assert reply.status_code == 404


async def test_other_methods_and_paths(tmp_path: Path) -> None:
    async with proxied(tmp_path, "http://127.0.0.1:9") as proxy:
        assert (await ask(proxy, "POST", "/penstock/health")).status_code == 405
        assert (await ask(proxy, "GET", "/penstock/nothing")).status_code == 404
