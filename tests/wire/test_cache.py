"""The response cache on real sockets: what is given again, to whom, how it is recorded, and what is never kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from exporters.record import CallRecord
from proxy.settings import Cache, CacheRule
from tests.wire.proxied import Proxied, proxied
from tests.wire.scripted import Conn, Request, Script, ScriptedUpstream, chunked, json_reply, reply, sse

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
        httpx.AsyncClient(base_url=proxy.url, headers={"authorization": "Bearer sk-one"}, timeout=20) as client,
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
        first, second = await ask(client), await ask(client)
        records = await recorded(proxy, 2)
    assert len(upstream.requests) == 1
    assert (first.headers["x-penstock-cache"], second.headers["x-penstock-cache"]) == ("miss", "hit")
    assert second.content == first.content
    assert second.headers["age"] == "0"
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
        httpx.AsyncClient(base_url=proxy.url) as client,
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


# What is never kept


@pytest.mark.parametrize(
    "script",
    [
        json_reply({"error": {"message": "no"}}, 400),
        json_reply({"error": {"message": "no"}}),
        json_reply(answer(), 500),
        reply(200, {"content-type": "application/json"}, b'{"id": "chatcmpl-1", "choices": ['),
        reply(200, {"content-type": "text/html"}, b"<p>Please log in.</p>"),
        json_reply(answer("x" * 5000)),
    ],
    ids=["400", "error in 200", "500", "half", "html", "too long"],
)
async def test_what_is_no_whole_reply_is_not_kept(tmp_path: Path, script: Script) -> None:
    async with serving(tmp_path, script, Cache(entry_bytes_max=4000)) as (upstream, _, client):
        replies = [await ask(client) for _ in range(2)]
    assert len(upstream.requests) == 2
    assert [one.headers["x-penstock-cache"] for one in replies] == ["miss", "miss"]


@pytest.mark.parametrize(
    "script",
    [
        sse(STREAMED[:2], done=False),
        sse([*STREAMED[:2], {"error": {"message": "no"}}]),
        chunked(
            [b"data: " + json.dumps(delta("x")).encode() + b"\n\n", b"data: {"], {"content-type": "text/event-stream"}
        ),
    ],
    ids=["no end", "error inside", "cut off"],
)
async def test_a_stream_that_is_not_whole_is_not_kept(tmp_path: Path, script: Script) -> None:
    async with serving(tmp_path, script) as (upstream, _, client):
        for _ in range(2):
            await ask(client, stream=True)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("path", "body", "kept"),
    [
        ("/responses", {"model": "gpt-5-mini", "input": "hi"}, False),
        ("/responses", {"model": "gpt-5-mini", "input": "hi", "store": False}, True),
        ("/responses", {"model": "gpt-5-mini", "input": "hi", "store": False, "previous_response_id": "resp_0"}, False),
        (
            "/responses",
            {"model": "gpt-5-mini", "input": "hi", "store": False, "tools": [{"type": "web_search"}]},
            False,
        ),
        ("/responses", {"model": "gpt-5-mini", "input": "hi", "background": True}, False),
    ],
)
async def test_what_depends_on_the_providers_state(tmp_path: Path, path: str, body: dict[str, Any], kept: bool) -> None:
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "model": "m", "usage": None}
    async with serving(tmp_path, json_reply(response)) as (_, _, client):
        said = [(await client.post(path, json=body, headers=ON)).headers["x-penstock-cache"] for _ in range(2)]
        assert said == (["miss", "hit"] if kept else ["bypass", "bypass"])
    forced = Cache(rules=(CacheRule(force=True),))
    async with serving(tmp_path / "forced", json_reply(response), forced) as (_, _, client):
        said = [(await client.post(path, json=body)).headers["x-penstock-cache"] for _ in range(2)]
    assert said == ["miss", "hit"]


async def test_calls_that_are_not_understood_are_never_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply({"ok": True}), RULE) as (upstream, _, client):
        replies = [await client.get("/models", headers=ON) for _ in range(2)]
    assert (len(upstream.requests), ["x-penstock-cache" in one.headers for one in replies]) == (2, [False, False])


# Both shapes


@pytest.mark.parametrize("first", ["unary", "stream"])
@pytest.mark.parametrize("second", ["unary", "stream", "stream with usage"])
async def test_one_entry_serves_both_shapes(tmp_path: Path, first: str, second: str) -> None:
    async def script(request: Request, conn: Conn) -> None:
        await (sse(STREAMED) if json.loads(request.body).get("stream") else json_reply(answer()))(request, conn)

    async def text(client: openai.AsyncOpenAI, shape: str) -> tuple[str, int | None]:
        if shape == "unary":
            whole = await client.chat.completions.create(**QUESTION, extra_headers=ON)
            return whole.choices[0].message.content or "", whole.usage and whole.usage.total_tokens
        options: Any = {"stream_options": {"include_usage": True}} if "usage" in shape else {}
        said, usage = "", None
        async for part in await client.chat.completions.create(**QUESTION, stream=True, extra_headers=ON, **options):
            said += (part.choices[0].delta.content or "") if part.choices else ""
            usage = part.usage.total_tokens if part.usage else usage
        return said, usage

    async with serving(tmp_path, script) as (upstream, proxy, _):
        client = openai.AsyncOpenAI(base_url=proxy.url, api_key="sk-x", max_retries=0)
        await text(client, first)
        said, usage = await text(client, second)
        records = await recorded(proxy, 2)
        await client.close()
    assert len(upstream.requests) == 1
    assert (said, usage) == ("Hello.", None if second == "stream" else 1500)
    assert [(one.outcome, one.cache_status) for one in records] == [("answered", "miss"), ("cached", "hit")]
    assert [one.output_tokens for one in records] == [500, 500]
    assert records[1].stream is (second != "unary")


async def test_a_stream_is_given_again_byte_for_byte(tmp_path: Path) -> None:
    async with serving(tmp_path, sse(STREAMED)) as (upstream, _, client):
        first, second = [await ask(client, stream=True) for _ in range(2)]
    assert (len(upstream.requests), second.headers["x-penstock-cache"]) == (1, "hit")
    assert second.content == first.content
    assert b'"choices": []' not in first.content
    assert second.headers["content-type"] == first.headers["content-type"]


async def test_a_stream_without_usage_does_not_serve_who_asks_for_it(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse(STREAMED[:3])) as upstream,
        proxied(tmp_path, upstream.url, upstream={"include_usage": False}) as proxy,
        httpx.AsyncClient(base_url=proxy.url) as client,
    ):
        said = []
        for options in (
            {},
            {},
            {"stream_options": {"include_usage": True}},
            {"stream_options": {"include_usage": True}},
        ):
            said.append((await ask(client, stream=True, **options)).headers["x-penstock-cache"])
    assert said == ["miss", "hit", "miss", "hit"]


async def test_a_paced_stream_comes_event_by_event(tmp_path: Path) -> None:
    async with serving(tmp_path, sse(STREAMED), Cache(pace_s=0.02)) as (_, _, client):
        first = await ask(client, stream=True)
        async with client.stream("POST", "/chat/completions", json=QUESTION | {"stream": True}, headers=ON) as again:
            pieces = [piece async for piece in again.aiter_raw()]
    assert b"".join(pieces) == first.content
    assert len(pieces) >= 3


async def test_a_compressed_reply_is_kept_plain(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(answer()).encode())
    script = reply(200, {"content-type": "application/json", "content-encoding": "gzip"}, packed)
    async with serving(tmp_path, script) as (upstream, _, client):
        first = await ask(client)
        second = await ask(client, ON | {"accept-encoding": "identity"})
    assert (first.json(), second.json()) == (answer(), answer())
    assert (second.headers["x-penstock-cache"], "content-encoding" in second.headers) == ("hit", False)
    assert len(upstream.requests) == 1


async def test_embeddings(tmp_path: Path) -> None:
    body = {"model": "text-embedding-3-small", "input": "hi"}
    vectors = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    async with serving(tmp_path, json_reply(vectors), RULE) as (upstream, proxy, client):
        said = [(await client.post("/embeddings", json=body)).headers["x-penstock-cache"] for _ in range(2)]
        records = await recorded(proxy, 2)
    assert (said, len(upstream.requests)) == (["miss", "hit"], 1)
    assert records[1].cost == 0.0


# Similar questions


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}], **more}


async def test_a_question_in_other_words_is_given_the_same_reply(tmp_path: Path) -> None:
    cache = Cache(rules=(CacheRule(semantic=0.7),), memory_bytes_max=0)
    async with serving(tmp_path, json_reply(answer("Paris.")), cache) as (upstream, proxy, client):
        first = await ask(client, {}, **asking("What is the capital city of France?"))
        stage = proxy.app.cache
        assert stage is not None
        assert stage._semantic is not None
        async with asyncio.timeout(60):
            while not stage._semantic.stats.added:
                await asyncio.sleep(0.02)
        alike = await ask(client, {}, **asking("Tell me the capital city of France."))
        assert (alike.headers["x-penstock-cache"], len(upstream.requests)) == ("semantic", 1)
        assert alike.json()["choices"][0]["message"]["content"] == "Paris."
        assert 0.7 <= float(alike.headers["x-penstock-cache-similarity"]) <= 1
        assert alike.headers["x-penstock-cache-request-id"] == first.headers["x-penstock-request-id"]
        for other in (
            asking("What is the capital city of Spain?"),
            asking("Tell me the capital city of France.", temperature=0.2),
            {"messages": [{"role": "user", "content": "Tell me the capital city of France."}]},
        ):
            assert (await ask(client, {}, **other)).headers["x-penstock-cache"] == "miss"
        stranger = await ask(
            client, {"authorization": "Bearer sk-two"}, **asking("Tell me the capital city of France, please.")
        )
        assert stranger.headers["x-penstock-cache"] == "miss"
        records = await recorded(proxy, 5)
    given = next(one for one in records if one.cache_status == "semantic")
    assert (given.outcome, given.cost, set(given.savings)) == ("cached", 0.0, {"response_cache"})
