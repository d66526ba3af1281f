"""`async` on real sockets: a ticket at once, the reply for whoever has the right key, and a way to give it up."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.batching.item import decode_context
from proxy.settings import Batch, BatchRule, Cache
from tests.wire.deferred import (
    ASYNC,
    CHAT,
    HOLD,
    JSON,
    answer,
    chat_answer,
    deferring,
    owed,
    queued,
    recorded,
    until_delivered,
    until_joined,
    until_queued,
    whole,
)
from tests.wire.proxied import Proxied
from tests.wire.scripted import json_reply


async def ask(client: httpx.AsyncClient, body: dict[str, Any] = CHAT, **headers: str) -> httpx.Response:
    return await client.post("/chat/completions", json=body, headers=ASYNC | headers)


def place(proxy: Proxied, reply: httpx.Response) -> str:
    return proxy.url.removesuffix("/v1") + reply.headers["location"]


async def test_a_ticket_then_the_reply(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (upstream, proxy, client):
        before_ns = time.time_ns()
        reply = await ask(client, **{"x-penstock-deadline": "1d"})
        after_ns = time.time_ns()
        (item,) = await queued(proxy)
        pending = await client.get(place(proxy, reply))
        headers = [*JSON, (b"x-penstock-tokens", b"input=1"), (b"openai-version", b"2020-10-01")]
        await answer(proxy, item.id, whole(chat_answer(), headers=headers))
        looked = await client.head(place(proxy, reply))
        assert proxy.app.queue is not None
        await proxy.app.queue.run(lambda connection: None)  # after all that was to be noted before
        assert not (await queued(proxy))[0].delivered
        done = await client.get(place(proxy, reply))
        await until_delivered(proxy)
        again = await client.get(place(proxy, reply))
        (record,) = await recorded(proxy, 1)
    assert upstream.requests == []
    ticket = reply.json()
    assert reply.status_code == 202
    assert ticket == {
        "id": item.id,
        "object": "penstock.deferred",
        "status": "queued",
        "created_at": item.created_ns // 10**9,
        "deadline_at": item.deadline_ns // 10**9,
        "location": f"/penstock/deferred/{item.id}",
    }
    assert before_ns <= item.created_ns <= after_ns
    assert before_ns <= item.deadline_ns - 86_400 * 10**9 <= after_ns
    assert reply.headers["location"] == ticket["location"]
    assert reply.headers["x-penstock-batch"] == "async"
    assert reply.headers["x-penstock-deferred-id"] == item.id
    assert pending.json() == ticket
    assert (pending.status_code, pending.headers["retry-after"]) == (202, reply.headers["retry-after"])
    assert int(reply.headers["retry-after"]) >= 1
    assert (done.status_code, done.json()) == (200, chat_answer())
    for name, value in (("x-request-id", "req_up"), ("openai-version", "2020-10-01"), ("x-penstock-tokens", "input=1")):
        assert done.headers[name] == value
    assert done.headers["content-type"] == "application/json"
    assert again.content == done.content
    assert (looked.status_code, looked.content) == (200, b"")
    assert (record.kind, record.item_id, record.status, record.outcome) == ("deferral", item.id, 202, "answered")


async def test_the_reply_is_an_error_where_the_call_failed(tmp_path: Path) -> None:
    error = {"error": {"message": "No.", "type": "invalid_request_error", "param": "model", "code": "x"}}
    async with deferring(tmp_path) as (_, proxy, client):
        reply = await ask(client)
        await answer(proxy, reply.json()["id"], whole(error, 404))
        done = await client.get(place(proxy, reply))
    assert (done.status_code, done.json()) == (404, error)


async def test_two_calls_are_two_tickets(tmp_path: Path) -> None:
    async with deferring(tmp_path, cache=Cache()) as (_, proxy, client):
        replies = await asyncio.gather(*(ask(client, **{"x-penstock-cache": "on"}) for _ in range(3)))
        rows = await queued(proxy)
    assert len({reply.json()["id"] for reply in replies}) == 3
    assert len({row.question for row in rows}) == 1
    assert {row.rejoin for row in rows} == {""}


async def test_a_key_of_its_own_makes_a_call_one(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        one = await ask(client, **{"idempotency-key": "k"})
        same = await ask(client, **{"idempotency-key": "k"})
        await answer(proxy, one.json()["id"], whole(chat_answer()))
        late = await ask(client, **{"idempotency-key": "k"})
        held = await client.post("/chat/completions", json=CHAT, headers=HOLD | {"idempotency-key": "k"})
    assert same.json() == one.json()
    assert (late.status_code, late.json()["id"], late.json()["status"]) == (202, one.json()["id"], "completed")
    assert (held.status_code, held.json()) == (200, chat_answer())


async def test_giving_up(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        one, other = await ask(client), await ask(client)
        gone = [await client.delete(place(proxy, one)) for _ in range(2)]
        looked = await client.get(place(proxy, one))
        await answer(proxy, other.json()["id"], whole(chat_answer()))
        late = await client.delete(place(proxy, other))
        kept = await client.get(place(proxy, other))
    assert [(reply.status_code, reply.json()["status"]) for reply in gone] == [(200, "cancelled")] * 2
    assert (looked.status_code, looked.json()["error"]["code"]) == (410, "deferred_cancelled")
    assert (late.status_code, late.json()["error"]["code"]) == (409, "deferred_completed")
    assert kept.json() == chat_answer()


async def test_only_who_asked_may_look(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        reply = await ask(client)
        other = {"authorization": "Bearer sk-two"}
        async with httpx.AsyncClient(timeout=60) as bare:
            replies = [
                await client.get(place(proxy, reply), headers=other),
                await client.delete(place(proxy, reply), headers=other),
                await client.get(place(proxy, reply) + "x"),
                await client.get(place(proxy, reply).rpartition("/")[0] + "/"),
                await client.get(place(proxy, reply) + "x" * 100),
                await bare.get(place(proxy, reply)),
            ]
        wrong = await client.post(place(proxy, reply))
        assert (await queued(proxy))[0].state == "queued"
    assert {(one.status_code, one.json()["error"]["code"]) for one in replies} == {(404, "deferred_not_found")}
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_proxy_keys_are_who_asks(tmp_path: Path) -> None:
    keys = tuple(f"sha256:{hashlib.sha256(key.encode()).hexdigest()}" for key in ("one", "two"))
    async with deferring(tmp_path, token="one", server={"keys": keys}) as (_, proxy, client):
        reply = await ask(client)
        also = await client.get(place(proxy, reply), headers={"authorization": "Bearer x", "x-penstock-key": "one"})
        other = await client.get(place(proxy, reply), headers={"authorization": "Bearer two"})
        nobody = await client.get(place(proxy, reply), headers={"authorization": "Bearer x"})
        (item,) = await queued(proxy)
    assert also.status_code == 202
    assert (other.status_code, nobody.status_code) == (404, 401)
    assert item.credential == ""


async def test_a_rule_defers_what_did_not_ask(tmp_path: Path) -> None:
    rules = (
        BatchRule(models=("other*",), batch="hold"),
        BatchRule(paths=("/v1/chat/*",), tags={"night": "t*"}, batch="async", deadline="2h"),
    )
    async with deferring(tmp_path, json_reply({}), batch=Batch(rules=rules)) as (upstream, proxy, client):
        night = {"x-penstock-tags": "night"}
        plain = [
            await client.post("/chat/completions", json=CHAT),
            await client.post("/chat/completions", json=CHAT, headers=night | {"x-penstock-batch": "off"}),
            await client.post("/chat/completions", json=CHAT | {"stream": True}, headers=night),
            await client.post("/chat/completions?x=1", json=CHAT, headers=night),
        ]
        deferred = await client.post("/chat/completions", json=CHAT, headers=night)
        (item,) = await queued(proxy)
        (record, *_) = await recorded(proxy, 5)
    assert [reply.status_code for reply in plain] == [200] * 4
    assert len(upstream.requests) == 4
    assert deferred.status_code == 202
    assert item.deadline_ns - item.created_ns == pytest.approx(7200e9, rel=1e-3)
    assert (record.kind, record.item_id) == ("call", "")


# With the response cache


async def test_what_is_cached_is_done_at_once(tmp_path: Path) -> None:
    on = {"x-penstock-cache": "on"}
    async with deferring(tmp_path, json_reply(chat_answer()), cache=Cache()) as (upstream, proxy, client):
        first = await client.post("/chat/completions", json=CHAT, headers=on)
        held = await client.post("/chat/completions", json=CHAT, headers=on | HOLD)
        reply = await ask(client, **on)
        done = await client.get(place(proxy, reply))
        records = await recorded(proxy, 3)
        (item,) = await queued(proxy)
        (made,) = await owed(proxy)
    assert len(upstream.requests) == 1
    assert (held.status_code, held.json(), held.headers["x-penstock-cache"]) == (200, chat_answer(), "hit")
    assert (reply.status_code, reply.json()["status"], reply.headers["retry-after"]) == (202, "completed", "1")
    assert (done.status_code, done.content, done.headers["x-penstock-cache"]) == (200, first.content, "hit")
    assert done.headers["x-penstock-cost-usd"] == "0"
    assert [record.kind for record in records] == ["call", "call", "deferral"]
    assert (made.kind, made.item_id, made.outcome, made.cache_status) == ("call", item.id, "cached", "hit")
    assert (made.request_id, made.parent_span_id) == (records[2].request_id, records[2].span_id)
    assert records[0].cost
    assert (made.cost, made.savings) == (0.0, {"response_cache": pytest.approx(records[0].cost)})


@pytest.mark.parametrize("mode", [ASYNC, HOLD])
async def test_what_is_not_cached_is_to_be_kept(tmp_path: Path, mode: dict[str, str]) -> None:
    """A ticket is no reply, nor has the stage anything else to keep: the dispatcher is told where it belongs."""
    on = {"x-penstock-cache": "on", "x-penstock-cache-namespace": "n"} | mode
    async with deferring(tmp_path, cache=Cache(ttl_s=60)) as (_, proxy, client):
        calls = []
        for number in (1, 2):
            calls.append(asyncio.ensure_future(client.post("/chat/completions", json=CHAT, headers=on)))
            if mode is ASYNC:
                await until_queued(proxy, number)
            else:
                (item,) = await until_queued(proxy)
                await until_joined(proxy, item.id, number)
        rows = await queued(proxy)
        for row in rows:
            await answer(proxy, row.id, whole(chat_answer()))
        replies = [await call for call in calls]
        for row in rows:
            keep = decode_context(row.context).keep
            assert keep is not None
            assert (len(keep.key), keep.namespace, keep.ttl_s) == (64, "n", 60.0)
    assert {reply.headers["x-penstock-cache"] for reply in replies} == {"miss"}
    assert len(rows) == (2 if mode is ASYNC else 1)


async def test_no_store_is_kept_nowhere(tmp_path: Path) -> None:
    async with deferring(tmp_path, cache=Cache()) as (_, proxy, client):
        await ask(client, **{"x-penstock-cache": "on", "cache-control": "no-store"})
        (item,) = await queued(proxy)
    assert decode_context(item.context).keep is None
