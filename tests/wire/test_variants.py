"""An alias on real sockets: what the upstream is asked, what the caller is told, and what is recorded."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from proxy.batching.item import decode_context
from proxy.metering.complete import completer
from proxy.settings import Batch, Cache, CacheRule, Model, Price, Settings, Upstream, Variant
from tests.wire.deferred import HOLD, answer, chat_answer, deferring, until_queued, whole
from tests.wire.proxied import Caller, post, proxied
from tests.wire.scripted import Conn, Request, ScriptedUpstream, json_reply, sse
from tests.wire.test_transparency import ANSWER

BASE = Variant(name="base", model="gpt-5-mini", weight=90)
TUNED = Variant(name="tuned", model='tuned "1"', weight=10)
BOT = Model(name="bot", variants=(BASE, TUNED))
CHAT = b'{ "n":1.0e0, "model" : "bot", "messages" : [{"role":"user","content":"caf\\u00e9"}]}'
FORCED = ("x-penstock-variant", "tuned")


def only(variant: Variant) -> tuple[Model, ...]:
    return (Model(name="bot", variants=(variant,)),)


async def test_the_variant_is_asked_told_recorded_and_priced(tmp_path: Path) -> None:
    prices = {TUNED.model: Price(input=1_000_000.0)}
    async with (
        ScriptedUpstream(json_reply({**ANSWER, "model": ""})) as upstream,
        proxied(tmp_path, upstream.url, models=(BOT,), prices=prices) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT, FORCED))
        status, headers, body = await caller.reply()
        record = await proxy.record()
        (begin,) = proxy.begins()
        caller.close()
    (request,) = upstream.requests
    assert request.body == CHAT.replace(b'"bot"', b'"tuned \\"1\\""')
    assert not [name for name, _ in request.headers if name.lower().startswith(b"x-penstock")]
    told = dict(headers)
    assert (status, told["x-penstock-alias"], told["x-penstock-variant"]) == (200, "bot", "tuned")
    assert json.loads(body)["model"] == ""  # what the upstream said
    assert (record.alias, record.variant, record.request_model) == ("bot", "tuned", TUNED.model)
    assert record.cost == pytest.approx(19.0)
    assert record.request_bytes == len(CHAT)
    assert (begin.alias, begin.variant, begin.request_model) == ("bot", "tuned", TUNED.model)


async def test_what_the_baseline_would_have_cost_is_saved(tmp_path: Path) -> None:
    prices = {TUNED.model: Price(input=1_000_000.0), BASE.model: Price(input=3_000_000.0)}
    bot = Model(name="bot", baseline="base", variants=(BASE, TUNED))
    async with (
        ScriptedUpstream(json_reply({**ANSWER, "model": ""})) as upstream,
        proxied(tmp_path, upstream.url, models=(bot,), prices=prices) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT, FORCED))
        await caller.reply()
        record = await proxy.record()
        caller.close()
    assert record.cost == pytest.approx(19.0)
    completed = completer(Settings(models=(bot,), prices=prices))(record)
    assert completed.savings == pytest.approx({"smaller_model": 38.0})


async def test_a_call_of_another_model_travels_untouched(tmp_path: Path) -> None:
    body = CHAT.replace(b'"bot"', b'"gpt-5"')
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, models=(BOT,)) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", body, FORCED))
        _, headers, _ = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert upstream.requests[0].body == body
    assert "x-penstock-variant" not in dict(headers)
    assert (record.alias, record.variant, record.request_model) == ("", "", "gpt-5")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", b'{"model":"bot","prompt":"x"}'),
        ("/v1/responses", b'{"input":"x","model":"bot"}'),
        ("/v1/embeddings", b'{"model":"bot","input":"x"}'),
        ("/v1/audio/speech", b'{"model":"bot","input":"x","voice":"alloy"}'),
    ],
)
async def test_all_calls_with_a_json_body_have_aliases(tmp_path: Path, path: str, body: bytes) -> None:
    async with (
        ScriptedUpstream(json_reply({})) as upstream,
        proxied(tmp_path, upstream.url, models=only(BASE)) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post(path, gzip.compress(body), ("Content-Encoding", "gzip"), ("X-A", "b")))
        assert (await caller.reply())[0] == 200
        caller.close()
    (request,) = upstream.requests
    assert request.body == body.replace(b'"bot"', b'"gpt-5-mini"')
    names = [name.lower() for name, _ in request.headers]
    assert b"content-encoding" not in names
    assert b"x-a" in names


async def test_who_was_asked_is_told_though_nobody_answers(tmp_path: Path) -> None:
    async def hung_up(request: Request, conn: Conn) -> None:
        await conn.close()

    async with ScriptedUpstream(hung_up) as upstream, proxied(tmp_path, upstream.url, models=(BOT,)) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT, FORCED))
        status, headers, _ = await caller.reply()
        caller.close()
    told = dict(headers)
    assert (status, told["x-penstock-alias"], told["x-penstock-variant"]) == (502, "bot", "tuned")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (CHAT, (("x-penstock-variant", "none"),), 404, "variant_not_found"),
        (b'{"model":"bot","model":"bot"}', (), 400, "alias_not_supported"),
    ],
)
async def test_what_cannot_be_is_said(
    tmp_path: Path, body: bytes, headers: tuple[tuple[str, str], ...], status: int, code: str
) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, models=(BOT,)) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", body, *headers))
        got, _, said = await caller.reply()
        record = await proxy.record()
        caller.close()
    assert (got, json.loads(said)["error"]["code"]) == (status, code)
    assert (record.outcome, record.alias) == ("rejected", "bot")
    assert upstream.requests == []


async def test_an_alias_in_a_query_is_refused(tmp_path: Path) -> None:
    ask = (
        b"GET /v1/realtime?model=bot HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with (
        ScriptedUpstream(json_reply({})) as upstream,
        proxied(tmp_path, upstream.url, models=(BOT,)) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(ask)
        status, _, body = await caller.reply()
        caller.close()
    assert (status, json.loads(body)["error"]["code"]) == (400, "alias_not_supported")


async def test_a_variant_has_its_upstream_whatever_the_caller_says(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as usual,
        ScriptedUpstream(json_reply(ANSWER)) as local,
        proxied(
            tmp_path,
            usual.url,
            more=(Upstream(name="local", base_url=f"{local.url}/v1"),),
            models=only(Variant(model="m", upstream="local")),
        ) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT, ("x-penstock-upstream", "scripted")))
        await caller.reply()
        record = await proxy.record()
        caller.close()
    assert (len(usual.requests), len(local.requests)) == (0, 1)
    assert (record.upstream, record.variant) == ("local", "m")


async def test_sessions_users_and_retries_stay_and_others_do_not(tmp_path: Path) -> None:
    even = Model(name="bot", variants=(Variant(model="a"), Variant(model="b")))
    body = {"model": "bot", "messages": [{"role": "user", "content": "x"}]}
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, models=(even,)) as proxy,
        httpx.AsyncClient(base_url=proxy.url, timeout=20) as client,
    ):

        async def answered(**headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            reply = await client.post("/chat/completions", json=body, headers=named)
            return reply.headers["x-penstock-variant"]

        for name in ("x_penstock_session", "x_penstock_user", "idempotency_key"):
            sorts = []
            for number in range(12):
                found = {await answered(**{name: str(number)}) for _ in range(3)}
                assert len(found) == 1
                sorts += found
            assert len(set(sorts)) == 2
        assert len(Counter([await answered() for _ in range(24)])) == 2
        # A session goes before a user.
        assert len({await answered(x_penstock_session="s", x_penstock_user=str(n)) for n in range(12)}) == 1


async def test_what_the_model_was_trained_without_is_cut_off_and_recorded_as_the_caller_said_it(tmp_path: Path) -> None:
    body = b'{"model":"bot","messages":[{"role":"system","content":"Be brief. Now"},{"role":"user","content":"x"}]}'
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, models=only(Variant(model="m", prune=("Be brief.",)))) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", body))
        await caller.reply()
        record = await proxy.record()
        caller.close()
    assert json.loads(upstream.requests[0].body)["messages"][0] == {"role": "system", "content": "Now"}
    assert record.request_body == body
    assert (record.request_model, record.pruned) == ("m", "Be brief. ")


async def test_without_capture_what_was_cut_off_is_counted_and_not_kept(tmp_path: Path) -> None:
    body = b'{"model":"bot","messages":[{"role":"system","content":"Be brief. Now"},{"role":"user","content":"x"}]}'
    models, prices = only(Variant(model="m", prune=("Be brief.",))), {"m": Price(input=4_000_000.0)}
    async with (
        ScriptedUpstream(json_reply({**ANSWER, "model": ""})) as upstream,
        proxied(tmp_path, upstream.url, models=models, prices=prices, record={"content": "off"}) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", body))
        await caller.reply()
        record = await proxy.record()
        caller.close()
    assert (record.pruned, record.pruned_tokens) == ("", 3)
    assert record.savings == pytest.approx({"pruning": 12.0})
    assert completer(Settings(models=models, prices=prices))(record).savings == record.savings


async def test_streams_are_asked_for_their_usage_as_ever(tmp_path: Path) -> None:
    stream = CHAT[:-1] + b',"stream":true}'
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    async with (
        ScriptedUpstream(sse([{"choices": [{"index": 0, "delta": {"content": "hi"}}]}, usage])) as upstream,
        proxied(tmp_path, upstream.url, models=only(BASE)) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", stream))
        _, headers, body = await caller.reply()
        record = await proxy.record()
        caller.close()
    sent = json.loads(upstream.requests[0].body)
    assert (sent["model"], sent["stream_options"]) == ("gpt-5-mini", {"include_usage": True})
    assert b"usage" not in body
    assert dict(headers)["x-penstock-variant"] == "base"
    assert (record.input_tokens, record.variant) == (3, "base")


async def test_the_cache_keeps_variants_apart(tmp_path: Path) -> None:
    body = {"model": "bot", "messages": [{"role": "user", "content": "x"}]}
    async with (
        ScriptedUpstream(json_reply(ANSWER)) as upstream,
        proxied(tmp_path, upstream.url, models=(BOT,), cache=Cache(rules=(CacheRule(),))) as proxy,
        httpx.AsyncClient(base_url=proxy.url, timeout=20) as client,
    ):
        found = []
        for name in ("base", "tuned", "base", "tuned"):
            reply = await client.post("/chat/completions", json=body, headers={"x-penstock-variant": name})
            found.append((reply.headers["x-penstock-cache"], reply.headers.get_list("x-penstock-variant")))
        direct = await client.post("/chat/completions", json={**body, "model": BASE.model})
    assert found == [("miss", ["base"]), ("miss", ["tuned"]), ("hit", ["base"]), ("hit", ["tuned"])]
    assert direct.headers["x-penstock-cache"] == "hit"
    assert "x-penstock-variant" not in direct.headers
    assert len(upstream.requests) == 2


async def test_a_call_that_waits_is_queued_and_recorded_as_its_variant(tmp_path: Path) -> None:
    chat: dict[str, Any] = {"model": "bot", "messages": [{"role": "user", "content": "Be brief. x"}]}
    brief = msgspec.structs.replace(BASE, prune_user=("Be brief.",))
    async with deferring(tmp_path, batch=Batch(), models=only(brief)) as (_, proxy, client):
        call = asyncio.ensure_future(client.post("/chat/completions", json=chat, headers=HOLD))
        (item,) = await until_queued(proxy)
        assert (item.model, json.loads(item.body)["model"]) == (BASE.model, BASE.model)
        context = decode_context(item.context)
        assert (context.alias, context.variant, context.pruned) == ("bot", "base", "Be brief. ")
        await answer(proxy, item.id, whole(chat_answer()))
        reply = await call
    assert (reply.headers["x-penstock-alias"], reply.headers["x-penstock-variant"]) == ("bot", "base")
