"""The response cache on real sockets: what is given again, to whom, how it is recorded, and what is never kept."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from exporters.record import CallRecord
from proxy.settings import Cache, CacheRule
from tests.wire.proxied import Proxied, proxied
from tests.wire.scripted import Conn, Request, Script, ScriptedUpstream, json_reply

ON = {"x-penstock-cache": "on"}
DEFAULT = Cache()
RULE = Cache(rules=(CacheRule(),))
QUESTION: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


def answer(text: str = "Hello.", **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": USAGE,
        **more,
    }


def delta(content: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    part = {} if content is None else {"content": content}
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini-2025-08-07"}
    return {**base, "choices": [{"index": 0, "delta": part, "finish_reason": finish}], "usage": None, **more}


LAST = {**delta(None), "choices": [], "usage": USAGE}
STREAMED = [delta("Hel"), delta("lo."), delta(None, "stop"), LAST]


@asynccontextmanager
async def serving(
    tmp_path: Path, script: Script, cache: Cache = DEFAULT, **settings: Any
) -> AsyncIterator[tuple[ScriptedUpstream, Proxied, httpx.AsyncClient]]:
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, upstream={"provider": "openai"}, cache=cache, **settings) as proxy,
        httpx.AsyncClient(base_url=proxy.url, headers={"authorization": "Bearer sk-one"}, timeout=60) as client,
    ):
        yield upstream, proxy, client


async def recorded(proxy: Proxied, count: int) -> list[CallRecord]:
    async with asyncio.timeout(60):
        while len(proxy.records()) < count or proxy.app.server.open:
            await asyncio.sleep(0.01)
    return proxy.records()


async def ask(client: httpx.AsyncClient, headers: dict[str, str] = ON, **changes: Any) -> httpx.Response:
    return await client.post("/chat/completions", json=QUESTION | changes, headers=headers)


async def test_a_call_that_does_not_ask_is_left_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply(answer())) as (upstream, proxy, client):
        replies = [await ask(client, {}) for _ in range(2)]
        records = await recorded(proxy, 2)
    assert len(upstream.requests) == 2
    assert all("x-penstock-cache" not in one.headers for one in replies)
    assert [(one.outcome, one.cache_status) for one in records] == [("answered", "")] * 2


async def test_a_reply_is_given_again_and_recorded_as_such(tmp_path: Path) -> None:
    script = json_reply(answer(), headers={"x-request-id": "req_up", "set-cookie": "a=b"})
    async with serving(tmp_path, script) as (upstream, proxy, client):
        began_s = time.time()
        first, second = await ask(client), await ask(client)
        ended_s = time.time()
        records = await recorded(proxy, 2)
    assert len(upstream.requests) == 1
    assert (first.headers["x-penstock-cache"], second.headers["x-penstock-cache"]) == ("miss", "hit")
    assert second.content == first.content
    assert 0 <= int(second.headers["age"]) <= ended_s - began_s
    assert second.headers["x-penstock-cache-request-id"] == first.headers["x-penstock-request-id"]
    assert second.headers["x-penstock-request-id"] != first.headers["x-penstock-request-id"]
    assert second.headers["x-request-id"] == "req_up"
    assert "set-cookie" not in second.headers
    assert "age" not in first.headers
    paid, given = records
    assert (paid.outcome, paid.cache_status, paid.savings) == ("answered", "miss", {})
    assert (given.outcome, given.cache_status, given.cost) == ("cached", "hit", 0.0)
    assert paid.cost is not None
    assert given.savings == {"response_cache": pytest.approx(paid.cost)}
    assert (given.input_tokens, given.output_tokens) == (1000, 500)
    assert given.attempts == []
    assert second.headers["x-penstock-cost-usd"] == "0"


async def test_it_survives_the_worker(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", json_reply(answer())) as (upstream, _, client):
        first = await ask(client)
        assert len(upstream.requests) == 1
    async with serving(tmp_path / "data", json_reply(answer("Other."))) as (upstream, _, client):
        again = await ask(client)
    assert (len(upstream.requests), again.headers["x-penstock-cache"], again.content) == (0, "hit", first.content)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"messages": [{"role": "user", "content": "Say hello!"}]},
        {"model": "gpt-5"},
        {"seed": 1},
        {"unknown_field": 1},
    ],
)
async def test_another_question_is_another_call(tmp_path: Path, change: dict[str, Any]) -> None:
    async with serving(tmp_path, json_reply(answer())) as (upstream, _, client):
        await ask(client)
        other = await ask(client, **change)
    assert (len(upstream.requests), other.headers["x-penstock-cache"]) == (2, "miss")


@pytest.mark.parametrize("change", [{"user": "ada"}, {"metadata": {"a": "b"}}, {"store": False}, {"n": 1}])
async def test_what_does_not_change_the_answer_does_not_matter(tmp_path: Path, change: dict[str, Any]) -> None:
    async with serving(tmp_path, json_reply(answer())) as (upstream, _, client):
        await ask(client)
        other = await ask(client, **change)
    assert (len(upstream.requests), other.headers["x-penstock-cache"]) == (1, "hit")


# Whose it is


@pytest.mark.parametrize(
    "other",
    [
        {"authorization": "Bearer sk-two"},
        {"authorization": ""},
        {"openai-organization": "org-2"},
        {"openai-project": "proj-2"},
        {"api-key": "sk-azure"},
        {"x-penstock-cache-namespace": "mine"},
        {"openai-beta": "assistants=v2"},
    ],
)
async def test_nobody_is_given_what_another_was_told(tmp_path: Path, other: dict[str, str]) -> None:
    async with serving(tmp_path, json_reply(answer("A secret."))) as (upstream, _, client):
        await ask(client)
        stranger = await ask(client, ON | other)
        assert stranger.headers["x-penstock-cache"] == "miss"
        only = await ask(client, ON | {k: v + "x" for k, v in other.items()} | {"cache-control": "only-if-cached"})
    assert only.status_code == 504
    assert len(upstream.requests) == 2


async def test_two_keys_of_penstock_share_nothing_though_the_upstream_has_one_key(tmp_path: Path) -> None:
    keys = ("sha256:" + hashlib.sha256(name.encode()).hexdigest() for name in ("pk-a", "pk-b"))
    async with (
        ScriptedUpstream(json_reply(answer("A secret."))) as upstream,
        proxied(
            tmp_path, upstream.url, upstream={"api_key": "sk-team"}, server={"keys": tuple(keys)}, cache=Cache()
        ) as proxy,
        httpx.AsyncClient(base_url=proxy.url, timeout=60) as client,
    ):
        said = []
        for key in ("pk-a", "pk-b", "pk-a"):
            response = await ask(client, ON | {"authorization": f"Bearer {key}"})
            said.append(response.headers["x-penstock-cache"])
    assert said == ["miss", "miss", "hit"]


async def test_a_shared_namespace_is_shared_on_purpose_and_only_by_configuration(tmp_path: Path) -> None:
    cache = Cache(shared_namespaces=("faq",))
    async with serving(tmp_path, json_reply(answer()), cache) as (_, _, client):
        said = []
        for key, namespace in (("a", "faq"), ("b", "faq"), ("a", "other"), ("b", "other"), ("a", "other")):
            headers = ON | {"authorization": f"Bearer sk-{key}", "x-penstock-cache-namespace": namespace}
            said.append((await ask(client, headers)).headers["x-penstock-cache"])
    assert said == ["miss", "hit", "miss", "miss", "hit"]


# Control


async def test_cache_control(tmp_path: Path) -> None:
    replies = iter(range(100))

    async def script(request: Request, conn: Conn) -> None:
        await json_reply(answer(f"Number {next(replies)}."))(request, conn)

    async def said(headers: dict[str, str]) -> tuple[str, str]:
        response = await ask(client, headers)
        return response.headers["x-penstock-cache"], response.json()["choices"][0]["message"]["content"]

    async with serving(tmp_path, script) as (_, _, client):
        assert await said(ON) == ("miss", "Number 0.")
        assert await said(ON | {"cache-control": "no-cache"}) == ("miss", "Number 1.")
        assert await said(ON) == ("hit", "Number 1.")
        assert await said(ON | {"cache-control": "no-store"}) == ("bypass", "Number 2.")
        assert await said(ON) == ("hit", "Number 1.")
        assert await said({"x-penstock-cache": "refresh"}) == ("miss", "Number 3.")
        assert await said(ON) == ("hit", "Number 3.")
        await asyncio.sleep(0.02)
        assert await said(ON | {"cache-control": "max-age=60"}) == ("hit", "Number 3.")
        assert await said(ON | {"cache-control": "max-age=0"}) == ("miss", "Number 4.")
        assert await said({"cache-control": "only-if-cached"}) == ("hit", "Number 4.")


async def test_only_if_cached_never_asks_the_upstream(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply(answer())) as (upstream, proxy, client):
        response = await ask(client, {"cache-control": "only-if-cached"})
        (record,) = await recorded(proxy, 1)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "not_in_cache")
    assert (record.outcome, record.error_type, upstream.requests) == ("rejected", "not_in_cache", [])


async def test_what_expired_is_asked_again(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply(answer()), Cache(ttl_s=0.05)) as (upstream, _, client):
        await ask(client)
        await asyncio.sleep(0.1)
        assert (await ask(client)).headers["x-penstock-cache"] == "miss"
    assert len(upstream.requests) == 2


async def test_variants_are_given_in_turn(tmp_path: Path) -> None:
    replies = iter("abcdef")

    async def script(request: Request, conn: Conn) -> None:
        await json_reply(answer(next(replies)))(request, conn)

    async with serving(tmp_path, script) as (_, _, client):
        texts = []
        for _ in range(7):
            response = await ask(client, ON | {"x-penstock-cache-variants": "3"})
            texts.append(response.json()["choices"][0]["message"]["content"])
    assert "".join(texts) == "abcabca"


async def test_switched_off_it_is_not_there(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply(answer()), Cache(enabled=False)) as (upstream, _, client):
        replies = [await ask(client) for _ in range(2)]
    assert (len(upstream.requests), ["x-penstock-cache" in one.headers for one in replies]) == (2, [False, False])
    assert not (tmp_path / "cache").exists()
