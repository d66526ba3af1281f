"""The response cache on real sockets: what is never kept, one entry for both shapes, and similar questions."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy.settings import Cache, CacheRule
from tests.wire.proxied import proxied
from tests.wire.scripted import Conn, Request, Script, ScriptedUpstream, chunked, json_reply, reply, sse
from tests.wire.test_cache import ON, QUESTION, RULE, STREAMED, answer, ask, delta, recorded, serving

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
        httpx.AsyncClient(base_url=proxy.url, timeout=60) as client,
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
    async with serving(tmp_path, script) as (upstream, proxy, client):
        first = await ask(client)
        second = await ask(client, ON | {"accept-encoding": "identity"})
        records = await recorded(proxy, 2)
    assert (first.json(), second.json()) == (answer(), answer())
    assert [(one.output_tokens, one.response_body) for one in records] == [(500, json.dumps(answer()).encode())] * 2
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
        assert await stage._tiers.drain(60)  # what the question leads to is on its way by itself
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
