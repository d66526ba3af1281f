"""Held calls on real sockets: nothing until the reply is there, then what the live endpoint would have sent."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.batching.item import decode_context
from proxy.settings import Batch, Upstream
from tests.wire.deferred import (
    CHAT,
    HOLD,
    JSON,
    LIVE,
    answer,
    chat_answer,
    deferring,
    queued,
    recorded,
    until_delivered,
    until_held,
    until_joined,
    until_queued,
    whole,
)
from tests.wire.proxied import PATIENCE_S, Caller, Proxied, post

STREAM = CHAT | {"stream": True, "stream_options": {"include_usage": True}}


def ask(client: httpx.AsyncClient, body: dict[str, Any] = CHAT, **headers: str) -> asyncio.Task[httpx.Response]:
    return asyncio.ensure_future(client.post("/chat/completions", json=body, headers=HOLD | headers))


async def test_a_unary_call_gets_the_ordinary_reply(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (upstream, proxy, client):
        call = ask(client)
        (item,) = await until_queued(proxy)
        assert not call.done()
        headers = [*JSON, (b"x-penstock-tokens", b"input=1000, output=500"), (b"x-penstock-cost-usd", b"0.5")]
        await answer(proxy, item.id, whole(chat_answer(), headers=headers))
        reply = await call
        await until_delivered(proxy)
        (record,) = await recorded(proxy, 1)
        assert proxy.app.batch is not None
        assert proxy.app.batch.held == 0
    assert upstream.requests == []
    assert (reply.status_code, reply.content) == (200, json.dumps(chat_answer()).encode())
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"] == "req_up"
    assert reply.headers["x-penstock-batch"] == "hold"
    assert reply.headers["x-penstock-deferred-id"] == item.id
    assert reply.headers.get_list("x-penstock-tokens") == ["input=1000, output=500"]
    assert reply.headers.get_list("x-penstock-cost-usd") == ["0.5"]
    assert (record.kind, record.item_id, record.status, record.outcome) == ("deferral", item.id, 200, "answered")
    assert (record.cost, record.input_tokens, record.request_body, record.upstream) == (None, None, None, "scripted")


async def test_the_item_is_what_the_dispatcher_needs(tmp_path: Path) -> None:
    body = (
        b'{\n "model": "gpt-5-mini", "temperature": 1.00,\n "stream": false, "stream_options": null, "input": "x y\\n"}'
    )
    headers = {"openai-beta": "new", "openai-organization": "org", "x-penstock-deadline": "2h", "user-agent": "me"}
    trace = {"traceparent": "00-11111111111111111111111111111111-2222222222222222-01"}
    async with deferring(tmp_path) as (_, proxy, client):
        sent = {"content-encoding": "gzip", "content-type": "application/json", **headers, **trace, **HOLD}
        call = asyncio.ensure_future(client.post("/responses", content=gzip.compress(body), headers=sent))
        (item,) = await until_queued(proxy)
        call.cancel()
        (record,) = await recorded(proxy, 1)
    assert item.body == b'{"model":"gpt-5-mini","temperature":1.00,"input":"x y\\n"}'
    assert (item.endpoint, item.path, item.model, item.upstream) == (
        "responses",
        "/v1/responses",
        "gpt-5-mini",
        "scripted",
    )
    assert item.deadline_ns - item.created_ns == pytest.approx(7200e9, rel=1e-3)
    assert (item.mode, item.state, item.stream, item.rejoin_by_key, item.webhook) == (
        "hold",
        "queued",
        False,
        False,
        "",
    )
    assert item.question
    assert item.rejoin
    assert item.credential
    context = decode_context(item.context)
    assert (context.request_id, context.span_id) == (record.request_id, record.span_id)
    assert (context.trace_id, context.provider) == ("1" * 32, "openai")
    assert context.headers == [(b"openai-beta", b"new")]
    assert (record.kind, record.outcome) == ("deferral", "abandoned")


async def test_a_stream_has_comments_until_the_reply_comes_as_events(tmp_path: Path) -> None:
    async with deferring(tmp_path, batch=Batch(heartbeat_s=0.1)) as (_, proxy, _):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", json.dumps(STREAM).encode(), *HOLD.items()))
        status, headers = await caller.head()
        comments = [await caller.chunk() for _ in range(2)]
        (item,) = await until_queued(proxy)
        await answer(proxy, item.id, whole(chat_answer()))
        rest = b""
        while piece := await caller.chunk():
            rest += piece
        caller.close()
        await until_delivered(proxy)
        (record,) = await recorded(proxy, 1)
    fields = {name.lower(): value for name, value in headers}
    assert (status, fields["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (fields["x-penstock-batch"], fields["x-penstock-deferred-id"]) == ("hold", item.id)
    assert all(comment.startswith(b":") and comment.endswith(b"\n\n") for comment in comments)
    data = [line[6:] for line in rest.split(b"\n\n") if line.startswith(b"data: ")]
    assert data[-1] == b"[DONE]"
    assert json.loads(data[-2])["usage"] == chat_answer()["usage"]
    assert (record.kind, record.stream, record.outcome) == ("deferral", True, "answered")


async def test_usage_is_streamed_only_to_who_asked(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        call = ask(client, CHAT | {"stream": True})
        (item,) = await until_queued(proxy)
        await answer(proxy, item.id, whole(chat_answer()))
        reply = await call
    assert b"Hello" in reply.content
    assert b"usage" not in reply.content


async def test_embeddings_have_no_streams(tmp_path: Path) -> None:
    value = {"object": "list", "data": [{"embedding": [0.5], "index": 0, "object": "embedding"}], "model": "e"}
    async with deferring(tmp_path) as (_, proxy, client):
        body = {"model": "e", "input": "x", "stream": True}
        call = asyncio.ensure_future(client.post("/embeddings", json=body, headers=HOLD))
        (item,) = await until_queued(proxy)
        await answer(proxy, item.id, whole(value))
        reply = await call
    assert reply.json() == value


async def test_who_leaves_finds_his_item_again_by_asking_the_same(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        first = ask(client)
        (item,) = await until_queued(proxy)
        first.cancel()
        await until_held(proxy, 0)
        again, other = ask(client), ask(client, CHAT | {"seed": 1})
        streamed = ask(client, STREAM)
        rows = await until_queued(proxy, 2)
        await until_joined(proxy, item.id, 2)
        assert [row.state for row in rows] == ["queued"] * 2
        await answer(proxy, item.id, whole(chat_answer()))
        reply, told = await again, await streamed
        other.cancel()
        await until_delivered_of(proxy, item.id)
        await until_held(proxy, 0)
        fresh = ask(client)
        rows = await until_queued(proxy, 3)
        fresh.cancel()
        records = await recorded(proxy, 5)
    assert reply.headers["x-penstock-deferred-id"] == told.headers["x-penstock-deferred-id"] == item.id
    assert reply.json() == chat_answer()
    assert b"Hello" in told.content
    assert len({row.id for row in rows}) == 3
    assert {record.kind for record in records} == {"deferral"}
    assert sorted(record.outcome for record in records) == ["abandoned"] * 3 + ["answered"] * 2


async def until_delivered_of(proxy: Proxied, item_id: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not any(row.delivered for row in await queued(proxy) if row.id == item_id):
            await asyncio.sleep(0.01)


async def test_a_reply_that_came_meanwhile_is_there_for_who_returns(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        first = ask(client)
        (item,) = await until_queued(proxy)
        first.cancel()
        await until_held(proxy, 0)
        await answer(proxy, item.id, whole({"error": {"message": "No.", "type": "t", "code": "c"}}, 429))
        streamed = await ask(client, STREAM)
    assert (streamed.status_code, streamed.json()["error"]["message"]) == (429, "No.")


async def test_an_idempotency_key_finds_the_reply_as_long_as_it_is_kept(tmp_path: Path) -> None:
    key = {"idempotency-key": "k-1"}
    async with deferring(tmp_path) as (_, proxy, client):
        first = ask(client, **key)
        (item,) = await until_queued(proxy)
        await answer(proxy, item.id, whole(chat_answer()))
        one = await first
        await until_delivered(proxy)
        again = await ask(client, **key)
        wrong = await ask(client, CHAT | {"seed": 1}, **key)
        too_long = await ask(client, **{"idempotency-key": "k" * 256})
        assert len(await queued(proxy)) == 1
    assert again.content == one.content
    assert item.rejoin_by_key
    assert item.question == ""
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_nobody_joins_the_item_of_somebody_else(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        calls = [ask(client, authorization=f"Bearer sk-{name}") for name in ("one", "two")]
        keyed = [ask(client, authorization=f"Bearer sk-{name}", **{"idempotency-key": "k"}) for name in ("one", "two")]
        rows = await until_queued(proxy, 4)
        for row in rows:
            await answer(proxy, row.id, whole(chat_answer(row.id)))
        replies = [await call for call in [*calls, *keyed]]
    assert len({reply.headers["x-penstock-deferred-id"] for reply in replies}) == 4
    assert len({row.scope for row in rows}) == 2
    assert len({row.question for row in rows if row.question}) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_was_given_up_elsewhere_says_so(tmp_path: Path, stream: bool) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        call = ask(client, CHAT | {"stream": stream})
        (item,) = await until_queued(proxy)
        await client.delete(f"{proxy.url[:-3]}/penstock/deferred/{item.id}")
        reply = await call
    assert reply.status_code == (200 if stream else 410)
    assert b'"deferred_cancelled"' in reply.content


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_is_held_for_ever(tmp_path: Path, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.batching.callers.holding.LATE_S", 0.0)
    async with deferring(tmp_path, batch=Batch(heartbeat_s=0.1)) as (_, _, client):
        reply = await ask(client, CHAT | {"stream": stream}, **{"x-penstock-deadline": "0.3s"})
    assert reply.status_code == (200 if stream else 504)
    assert b'"batch_deadline_exceeded"' in reply.content


async def test_a_caller_that_is_drained_elsewhere_is_let_go_at_once(tmp_path: Path) -> None:
    """The rest of a held call is no reply to be read for its usage."""
    server = {"on_disconnect": "drain", "drain_timeout_s": 600.0}
    async with deferring(tmp_path, server=server) as (_, proxy, client):
        for number, body in enumerate((CHAT, STREAM | {"seed": 1})):
            call = ask(client, body)
            await until_queued(proxy, number + 1)
            call.cancel()
            await until_held(proxy, 0)
        await proxy.app.record.drained(PATIENCE_S)  # a tenth of what they could be drained for
        records = await recorded(proxy, 2)
    assert [(record.kind, record.outcome) for record in records] == [("deferral", "abandoned")] * 2


async def test_held_calls_are_bounded_apart_from_the_others(tmp_path: Path) -> None:
    settings = {"server": {"concurrent_max": 1}, "batch": Batch(held_max=2)}
    async with deferring(tmp_path, **settings) as (_, proxy, client):
        calls = []
        for seed in range(2):
            calls.append(ask(client, CHAT | {"seed": seed}))
            await until_queued(proxy, seed + 1)
        refused = await ask(client, CHAT | {"seed": 2})
        live = await client.post("/chat/completions", json=CHAT)
        for row in await queued(proxy):
            await answer(proxy, row.id, whole(chat_answer()))
        replies = [await call for call in calls]
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_held")
    assert int(refused.headers["retry-after"]) > 0
    assert live.status_code == 418
    assert [reply.status_code for reply in replies] == [200, 200]


async def test_upstreams_have_their_own_keys_and_names(tmp_path: Path) -> None:
    own = Upstream(name="own", base_url="http://127.0.0.1:1/v1", api_key="secret", batch="local")
    nobody = Upstream(name="nobody", base_url="http://127.0.0.1:1/v1", batch="none")
    async with deferring(tmp_path, more=(own, nobody)) as (_, proxy, client):
        call = ask(client, **{"x-penstock-upstream": "own", "openai-organization": "org"})
        (item,) = await until_queued(proxy)
        call.cancel()
        refused = await ask(client, **{"x-penstock-upstream": "nobody"})
        missing = await ask(client, **{"x-penstock-upstream": "other"})
    assert (item.upstream, item.credential) == ("own", "")
    assert decode_context(item.context).headers == [(b"openai-organization", b"org")]
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-penstock-batch")
    assert "nobody" in refused.json()["error"]["message"]
    assert missing.status_code == 404


async def test_a_worker_that_is_killed_leaves_no_call_beside_the_item(tmp_path: Path) -> None:
    """What it had accepted is made up for as a deferral, which is no generation: the item's record is the one."""
    async with deferring(tmp_path, LIVE) as (_, proxy, client):
        calls = [ask(client), ask(client, CHAT | {"seed": 1}, **{"x-penstock-batch": "async"})]
        await until_queued(proxy, 2)
        await client.post("/chat/completions", json=CHAT, headers={"x-penstock-batch": "flex"})
        await client.post("/chat/completions", json=CHAT)
        kinds = [begin.interrupted(0).kind for begin in proxy.begins()]
        calls[0].cancel()
        await calls[1]
    assert sorted(kinds) == ["call", "call", "deferral", "deferral"]
