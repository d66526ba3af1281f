"""The official SDK reads the same from a stream, from a whole reply told as a stream, and from a stream told whole."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web
from openai.lib.streaming.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

from proxy.openai.call import Endpoint
from proxy.openai.meter import StreamMeter
from proxy.openai.replay import as_events, as_reply, events_of
from tests.unit.proxy.openai.replies import USAGE, chat, choice, completion, message
from tests.wire.as_openai import (
    CALLS,
    CHATS,
    LOAD,
    RESPONSE,
    RESPONSE_TOOLS,
    USER,
    Load,
    response_stream,
    sse,
)


class Shelf:
    """Answers every call with the stored bytes of the shape that it asks for, event by event."""

    def __init__(self) -> None:
        self.whole = b""
        self.events: list[bytes] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            return web.Response(body=self.whole, content_type="application/json")
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        for event in self.events:
            await reply.write(event)
        await reply.write_eof()
        return reply


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def client(shelf: Shelf) -> AsyncIterator[openai.AsyncOpenAI]:
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", shelf.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with openai.AsyncOpenAI(api_key="k", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as made:
        yield made
    await runner.cleanup()


def shown(result: BaseModel) -> Any:
    """Without what is null or absent (its attributes are the same), nor the index that only streamed calls have."""

    def given(value: Any) -> Any:
        if isinstance(value, dict):
            numbered = "function" in value
            return {k: given(v) for k, v in value.items() if v is not None and not (numbered and k == "index")}
        return [given(inner) for inner in value] if isinstance(value, list) else value

    return given(result.model_dump(warnings=False))


@pytest.mark.parametrize("name", CHATS)
async def test_chat_is_the_same_in_every_shape(client: openai.AsyncOpenAI, shelf: Shelf, name: str) -> None:
    whole, chunks, options = CHATS[name]
    original = sse([*chunks, {**chunks[0], "choices": [], "usage": USAGE}])
    stored = b"".join(original)

    async def streamed(events: list[bytes]) -> Any:
        shelf.events = events
        usage = {"include_usage": True}
        async with client.chat.completions.stream(model="m", messages=USER, stream_options=usage, **options) as stream:
            return shown(await stream.get_final_completion())

    async def parsed(body: bytes) -> Any:
        shelf.whole = body
        return shown(await client.chat.completions.parse(model="m", messages=USER, **options))

    expected = await parsed(json.dumps(whole).encode())
    assert expected["usage"] == USAGE
    assert await streamed(original) == expected
    assert await streamed(events_of(stored)) == expected
    assert await streamed(as_events("chat", whole, include_usage=True)) == expected
    assert await parsed(as_reply("chat", stored) or b"") == expected


@pytest.mark.parametrize("name", CHATS)
async def test_chunks_of_chat_add_up_for_who_reads_them_alone(
    client: openai.AsyncOpenAI, shelf: Shelf, name: str
) -> None:
    whole, chunks, _ = CHATS[name]
    original = sse([*chunks, {**chunks[0], "choices": [], "usage": USAGE}])

    async def read(events: list[bytes]) -> tuple[Any, ...]:
        shelf.events = events
        texts: dict[int, str] = {}
        refusals = ""
        finished = {}
        calls: dict[int, list[str]] = {}
        async for part in await client.chat.completions.create(model="m", messages=USER, stream=True):
            assert part.usage is None
            for one in part.choices:
                texts[one.index] = texts.get(one.index, "") + (one.delta.content or "")
                refusals += one.delta.refusal or ""
                finished |= {one.index: one.finish_reason} if one.finish_reason else {}
                for piece in one.delta.tool_calls or ():
                    assert piece.function is not None
                    told = calls.setdefault(piece.index, ["", "", ""])
                    told[0] += piece.id or ""
                    told[1] += piece.function.name or ""
                    told[2] += piece.function.arguments or ""
        return texts, refusals, finished, calls

    meter = StreamMeter("chat", hide_usage=True)
    told = await read([kept for event in original if (kept := meter.feed(event))])
    assert told[2] == {one["index"]: one["finish_reason"] for one in whole["choices"]}
    assert await read(as_events("chat", whole, include_usage=False)) == told


async def test_completions_are_the_same_in_every_shape(client: openai.AsyncOpenAI, shelf: Shelf) -> None:
    whole = completion("One word after the other, and more of them.", "No.")
    told = as_events("completions", whole, include_usage=True)
    shelf.events = told
    texts = ["", ""]
    usage = None
    async for part in await client.completions.create(model="m", prompt="?", n=2, stream=True):
        for one in part.choices:
            texts[one.index] += one.text
        usage = part.usage or usage
    assert texts == [one["text"] for one in whole["choices"]]
    assert usage is not None
    shelf.whole = as_reply("completions", b"".join(told)) or b""
    made = await client.completions.create(model="m", prompt="?", n=2)
    assert made.to_dict() == whole


async def test_responses_are_the_same_in_every_shape(client: openai.AsyncOpenAI, shelf: Shelf) -> None:
    options: dict[str, Any] = {"model": "m", "input": "?", "text_format": Load, "tools": RESPONSE_TOOLS}
    original = response_stream(RESPONSE)

    async def streamed(events: list[bytes]) -> tuple[Any, list[str], str]:
        shelf.events = events
        kinds: list[str] = []
        text = ""
        async with client.responses.stream(**options) as stream:
            async for event in stream:
                kinds += [event.type] if kinds[-1:] != [event.type] else []
                if isinstance(event, ResponseTextDeltaEvent):
                    text += event.delta
                    assert event.snapshot == text
            return shown(await stream.get_final_response()), kinds, text

    async def parsed(body: bytes) -> Any:
        shelf.whole = body
        made = await client.responses.parse(**options)
        assert made.output_parsed == Load(goods="flour and salt, two sacks of each of them", kilograms=48)
        return shown(made)

    expected = await parsed(json.dumps(RESPONSE).encode())
    theirs = await streamed(original)
    assert theirs[0] == expected
    assert theirs[2] == LOAD
    assert await streamed(as_events("responses", RESPONSE, include_usage=False)) == theirs
    assert await parsed(as_reply("responses", b"".join(original)) or b"") == expected


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
async def test_what_was_told_can_be_told_back_and_forth(
    client: openai.AsyncOpenAI, shelf: Shelf, endpoint: Endpoint
) -> None:
    """A reply that changed its shape twice is the one it was, byte for byte from then on."""
    whole = chat(choice(0, "tool_calls", message=message(tool_calls=CALLS))) if endpoint == "chat" else RESPONSE
    once = b"".join(as_events(endpoint, whole, include_usage=True))
    back = as_reply(endpoint, once) or b""
    assert json.loads(back) == whole
    assert b"".join(as_events(endpoint, json.loads(back), include_usage=True)) == once
    shelf.whole = back
    if endpoint == "chat":
        made: BaseModel = await client.chat.completions.create(model="m", messages=USER)
    else:
        made = await client.responses.create(model="m", input="?")
    assert json.loads(made.model_dump_json(exclude_unset=True)) == whole
