"""The official SDK, unmodified but for a header: what it parses of a held call is what it parses of a live one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.unit.proxy.openai.replies import USAGE
from tests.wire.as_openai import CHATS, RESPONSE, RESPONSE_TOOLS, USER, Load, response_stream, sse
from tests.wire.deferred import ASYNC, HOLD, answer, chat_answer, deferring, until_queued, whole
from tests.wire.proxied import Proxied
from tests.wire.scripted import Conn, Request, Script
from tests.wire.scripted import json_reply as json_script
from tests.wire.scripted import sse as sse_script
from tests.wire.test_replay_sdk import shown

ERROR = {"error": {"message": "Too much at once.", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}}
Ask = Callable[[openai.AsyncOpenAI], Awaitable[Any]]


def sdk(proxy: Proxied, **headers: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="sk-one", base_url=proxy.url, max_retries=0, timeout=60, default_headers=headers)


def either(value: Any, events: list[bytes]) -> Script:
    """The whole reply or the stream, as is asked for."""
    unary, streamed = json_script(value), sse_script(events, done=False)

    async def script(request: Request, conn: Conn) -> None:
        await (streamed if json.loads(request.body).get("stream") else unary)(request, conn)

    return script


async def live_and_held(tmp_path: Path, script: Script, value: Any, ask: Ask) -> tuple[Any, Any]:
    async with deferring(tmp_path, script) as (upstream, proxy, _):
        async with sdk(proxy) as live:
            expected = await ask(live)
        assert len(upstream.requests) == 1
        async with sdk(proxy, **HOLD) as client:
            call = asyncio.ensure_future(ask(client))  # type: ignore[arg-type]
            (item,) = await until_queued(proxy)
            assert "stream" not in json.loads(item.body)
            await answer(proxy, item.id, whole(value))
            held = await call
        assert len(upstream.requests) == 1
    return expected, held


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("shape", ["whole", "streamed", "streamed without usage"])
async def test_chat(tmp_path: Path, name: str, shape: str) -> None:
    reply, chunks, options = CHATS[name]
    usage = {} if shape.endswith("usage") else {"stream_options": {"include_usage": True}}

    async def ask(client: openai.AsyncOpenAI) -> Any:
        if shape == "whole":
            return shown(await client.chat.completions.parse(model="m", messages=USER, **options))
        async with client.chat.completions.stream(model="m", messages=USER, **usage, **options) as stream:  # type: ignore[arg-type]
            return shown(await stream.get_final_completion())

    events = sse([*chunks, {**chunks[0], "choices": [], "usage": USAGE}])
    live, held = await live_and_held(tmp_path, either(reply, events), reply, ask)
    assert held == live
    assert held.get("usage") == (None if shape.endswith("usage") else USAGE)


@pytest.mark.parametrize("stream", [False, True])
async def test_responses(tmp_path: Path, stream: bool) -> None:
    options: dict[str, Any] = {"model": "m", "input": "?", "text_format": Load, "tools": RESPONSE_TOOLS}

    async def ask(client: openai.AsyncOpenAI) -> Any:
        if not stream:
            return shown(await client.responses.parse(**options))
        kinds = []
        async with client.responses.stream(**options) as events:
            async for event in events:
                kinds += [event.type] if kinds[-1:] != [event.type] else []
            return shown(await events.get_final_response()), kinds

    live, held = await live_and_held(tmp_path, either(RESPONSE, response_stream(RESPONSE)), RESPONSE, ask)
    assert held == live


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_failed_is_raised(tmp_path: Path, endpoint: str, stream: bool) -> None:
    async def ask(client: openai.AsyncOpenAI) -> None:
        if endpoint == "chat":
            made: Any = await client.chat.completions.create(model="m", messages=USER, stream=stream)
        else:
            made = await client.responses.create(model="m", input="?", stream=stream)
        async for event in made if stream else _none():
            raise AssertionError(event)

    async with deferring(tmp_path) as (_, proxy, _), sdk(proxy, **HOLD) as client:
        call = asyncio.ensure_future(ask(client))
        (item,) = await until_queued(proxy)
        await answer(proxy, item.id, whole(ERROR, 429))
        with pytest.raises(openai.APIError) as raised:
            await call
    assert raised.value.code == "rate_limit_exceeded"
    assert "Too much at once." in raised.value.message
    assert isinstance(raised.value, openai.RateLimitError) is not stream


async def test_a_deferred_call_is_fetched(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, _), sdk(proxy) as client:
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=USER, extra_headers=ASYNC)
        assert raw.status_code == 202
        await answer(proxy, raw.headers["x-penstock-deferred-id"], whole(chat_answer()))
        path = proxy.url.removesuffix("/v1") + raw.headers["location"]
        made = await client.get(path, cast_to=openai.types.chat.ChatCompletion)
    assert made.choices[0].message.content == "Hello."


async def test_a_stream_cannot_be_deferred(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, _), sdk(proxy, **ASYNC) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.chat.completions.create(model="m", messages=USER, stream=True)
    assert (raised.value.code, raised.value.param) == ("not_batchable", "x-penstock-batch")
    assert "hold" in raised.value.message


async def _none() -> AsyncIterator[BaseModel]:
    return
    yield
