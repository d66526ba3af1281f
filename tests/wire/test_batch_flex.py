"""`x-penstock-batch: flex` through the whole chain: what the upstream sees, what is recorded and billed."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import Batch, BatchRule, Price
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post, proxied
from tests.wire.scripted import Conn, Request, Script, ScriptedUpstream, in_turn, json_reply, sse
from tests.wire.test_transparency import ANSWER, CHAT

FLEX = ("x-penstock-batch", "flex")
PATH = "/v1/chat/completions"
PRICES = {"gpt-5*": Price(input=2.0, output=10.0, tiers={"flex": 0.5})}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
NO_ROOM = json_reply({"error": {"message": "Resource unavailable", "code": "resource_unavailable"}}, 429)
LIMITED = json_reply({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, 429)
NO_TIER = json_reply({"error": {"message": "Invalid service_tier argument", "param": "service_tier"}}, 400)


def answered(tier: str) -> Script:
    return json_reply(ANSWER | {"usage": USAGE, "service_tier": tier})


def tier_of(request: Request) -> str | None:
    tier: str | None = request.json().get("service_tier")
    return tier


async def asked(
    tmp_path: Path, script: Script, *headers: tuple[str, str], body: bytes = CHAT, **settings: Any
) -> tuple[list[Request], int, dict[str, str], bytes, Proxied]:
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, prices=PRICES, **settings) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post(PATH, body, *headers))
        status, told, data = await caller.reply()
        await proxy.record()
        caller.close()
    return upstream.requests, status, {name.lower(): value for name, value in told}, data, proxy


@pytest.mark.parametrize(("tier", "factor"), [("flex", 0.5), ("default", 1.0)])
async def test_the_tier_of_the_reply_is_billed(tmp_path: Path, tier: str, factor: float) -> None:
    requests, status, told, _, proxy = await asked(tmp_path, answered(tier), FLEX)
    (request,) = requests
    assert (status, tier_of(request), told["x-penstock-batch"]) == (200, "flex", "flex")
    assert request.body == b'{"service_tier":"flex",' + CHAT[CHAT.index(b"{") + 1 :]
    cost = (1000 * 2.0 + 100 * 10.0) / 1e6 * factor
    assert float(told["x-penstock-cost-usd"]) == pytest.approx(cost)
    (record,) = proxy.records()
    assert (record.kind, record.outcome, record.request_body, record.service_tier) == ("call", "answered", CHAT, tier)
    assert record.cost == pytest.approx(cost)
    assert record.savings.get("flex", 0.0) == pytest.approx(cost if tier == "flex" else 0.0)


async def test_no_room_is_tried_again_and_costs_nothing(tmp_path: Path) -> None:
    requests, status, _, _, proxy = await asked(tmp_path, in_turn(NO_ROOM, NO_ROOM, answered("flex")), FLEX)
    assert (status, [tier_of(request) for request in requests]) == (200, ["flex"] * 3)
    (record,) = proxy.records()
    assert [attempt.status for attempt in record.attempts] == [429, 429, 200]
    assert record.input_tokens == 1000


async def test_the_standard_tier_is_asked_when_there_is_no_room_in_time(tmp_path: Path) -> None:
    no_room = json_reply({"error": {"code": "resource_unavailable"}}, 429, [("Retry-After", "61")])

    async def script(request: Request, conn: Conn) -> None:
        await (no_room if tier_of(request) == "flex" else answered("default"))(request, conn)

    requests, status, told, _, _ = await asked(tmp_path, script, FLEX, ("x-penstock-deadline", "60s"))
    assert [tier_of(request) for request in requests] == ["flex", "default"]
    assert (status, told["x-penstock-batch"]) == (200, "flex")


async def test_an_upstream_without_a_flex_tier_is_asked_as_always(tmp_path: Path) -> None:
    requests, status, _, _, _ = await asked(tmp_path, in_turn(NO_TIER, answered("default")), FLEX)
    assert (status, [tier_of(request) for request in requests]) == (200, ["flex", None])
    assert requests[1].body == CHAT


async def test_another_429_is_the_callers(tmp_path: Path) -> None:
    requests, status, _, data, _ = await asked(tmp_path, LIMITED, FLEX)
    assert (status, len(requests), json.loads(data)["error"]["code"]) == (429, 1, "rate_limit_exceeded")


async def test_a_rule_says_flex_too(tmp_path: Path) -> None:
    batch = Batch(rules=(BatchRule(models=("gpt-*",), batch="flex"),))
    requests, _, told, _, _ = await asked(tmp_path, answered("flex"), batch=batch)
    assert (tier_of(requests[0]), told["x-penstock-batch"]) == ("flex", "flex")


@pytest.mark.parametrize(("headers", "tier"), [([], "priority"), ([FLEX], "flex")])
async def test_the_tier_of_a_body_comes_before_a_rule_and_after_a_header(
    tmp_path: Path, headers: list[tuple[str, str]], tier: str
) -> None:
    batch = Batch(rules=(BatchRule(batch="flex"),))
    body = json.dumps(json.loads(CHAT) | {"service_tier": "priority"}).encode()
    requests, _, told, _, _ = await asked(tmp_path, answered(tier), *headers, body=body, batch=batch)
    assert (tier_of(requests[0]), requests[0].body == body) == (tier, not headers)
    assert told.get("x-penstock-batch") == ("flex" if headers else None)


async def test_a_compressed_call_goes_out_plain_with_its_tier(tmp_path: Path) -> None:
    requests, status, _, _, proxy = await asked(
        tmp_path, answered("flex"), FLEX, ("Content-Encoding", "gzip"), body=gzip.compress(CHAT)
    )
    (request,) = requests
    assert (status, tier_of(request), request.header("content-encoding")) == (200, "flex", None)
    assert request.header("content-length") == str(len(request.body))
    assert proxy.records()[0].request_bytes == len(gzip.compress(CHAT))


async def test_a_stream_is_tried_again_before_it_begins(tmp_path: Path) -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "service_tier": "flex"}
    delta = chunk | {"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}]}
    events = sse([delta, chunk | {"choices": [], "usage": USAGE}])
    body = json.dumps(json.loads(CHAT) | {"stream": True}).encode()
    requests, status, told, data, proxy = await asked(tmp_path, in_turn(NO_ROOM, events), FLEX, body=body)
    assert (status, len(requests), told["x-penstock-batch"]) == (200, 2, "flex")
    assert b"hello" in data
    assert data.rstrip().endswith(b"[DONE]")
    assert b'"usage"' not in data  # asked for on the caller's behalf, at both tries
    assert all(request.json()["stream_options"]["include_usage"] for request in requests)
    (record,) = proxy.records()
    assert (record.input_tokens, record.service_tier) == (1000, "flex")
    assert record.cost == pytest.approx((1000 * 2.0 + 100 * 10.0) / 1e6 / 2)


async def test_a_caller_that_leaves_while_it_waits_is_recorded_as_abandoned(tmp_path: Path) -> None:
    never = json_reply({"error": {"code": "resource_unavailable"}}, 429, [("Retry-After", "60")])
    async with ScriptedUpstream(never) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post(PATH, CHAT, FLEX))
        async with asyncio.timeout(PATIENCE_S):
            while not _refused(proxy):
                await asyncio.sleep(0.01)
        caller.close()
        record = await proxy.record()
    assert (record.outcome, [attempt.status for attempt in record.attempts]) == ("abandoned", [429])
    assert len(upstream.requests) == 1


def _refused(proxy: Proxied) -> bool:
    """The only call has heard that there is no room."""
    return any(
        attempt.status == 429
        for connection in proxy.app.server._served()
        if connection.exchange is not None
        for attempt in connection.exchange.attempts
    )
