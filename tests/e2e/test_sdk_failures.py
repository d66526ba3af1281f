"""What goes wrong raises the SDK's usual exceptions, with a message that says what to do, and is recorded once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.wire.scripted import (
    SSE_HEAD,
    Conn,
    Request,
    chunk,
    event,
    in_turn,
    json_reply,
    sse,
    stall_before_headers,
    stall_mid_stream,
)

from .serve import Penstock, penstock, until
from .stage import Stage, chat_chunks, chat_reply

HELLO: Any = [{"role": "user", "content": "Say hello."}]


def request_id(error: openai.APIStatusError) -> str:
    return str(error.response.headers["x-penstock-request-id"])


def test_a_model_that_no_upstream_takes_is_404(proxy: Penstock, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="No upstream takes the model") as caught:
        client.chat.completions.create(model="unknown-1", messages=HELLO)
    assert caught.value.code == "model_not_found"
    row = proxy.row(request_id(caught.value))
    assert (row["outcome"], row["status"], row["error_type"]) == ("rejected", 404, "model_not_found")
    assert row["model"] == "unknown-1"


def test_an_upstream_that_is_not_there_is_502(proxy: Penstock, client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="nobody-1", messages=HELLO)
    assert (caught.value.status_code, caught.value.type) == (502, "upstream_error")
    row = proxy.row(request_id(caught.value))
    assert (row["outcome"], row["status"], row["error_type"]) == ("failed", 502, caught.value.code)


def test_an_upstream_that_never_answers_is_504(proxy: Penstock, stage: Stage, client: openai.OpenAI) -> None:
    stage.play(stall_before_headers)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="late-1", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (504, "first_byte_timeout")
    row = proxy.row(request_id(caught.value))
    assert (row["outcome"], row["error_type"]) == ("failed", "first_byte_timeout")


def test_a_caller_over_its_rate_meets_the_upstreams_own_429(
    proxy: Penstock, stage: Stage, client: openai.OpenAI
) -> None:
    error = {"message": "Rate limit reached", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    stage.play(json_reply({"error": error}, 429, {"retry-after": "7", "x-ratelimit-remaining-requests": "0"}))
    with pytest.raises(openai.RateLimitError, match="Rate limit reached") as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "7"
    row = proxy.row(request_id(caught.value))
    assert (row["outcome"], row["status"], row["error_type"]) == ("answered", 429, "rate_limit_exceeded")
    assert row["response_headers"]["x-ratelimit-remaining-requests"] == "0"


def test_what_the_sdk_repeats_is_a_row_each(proxy: Penstock, stage: Stage, client: openai.OpenAI, call_id: str) -> None:
    error = json_reply({"error": {"message": "busy", "type": "server_error"}}, 503, {"retry-after-ms": "1"})
    stage.play(in_turn(error, error, json_reply(chat_reply())))
    client.with_options(max_retries=2).chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, extra_headers={"x-penstock-tags": f"call={call_id}"}
    )
    where = "tags['call'] = {id:String}"
    rows = proxy.wait_rows(where, {"id": call_id}, 3)
    assert [row["status"] for row in rows] == [503, 503, 200]
    assert [r.header("x-stainless-retry-count") for r in stage.requests] == ["0", "1", "2"]


async def test_a_caller_that_loses_patience_leaves_an_abandoned_row(
    proxy: Penstock, stage: Stage, call_id: str
) -> None:
    """Once its question has reached the upstream: of a call that nobody has read yet there is nothing to record."""
    stage.play(stall_before_headers)
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key="sk-callers-own", max_retries=0) as client:
        call = asyncio.ensure_future(
            client.chat.completions.create(
                model="gpt-4o-mini", messages=HELLO, extra_headers={"x-penstock-tags": f"call={call_id}"}
            )
        )
        assert await asyncio.to_thread(until, lambda: len(stage.requests), bool, 60.0) == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    row = await asyncio.to_thread(proxy.row_of_tag, "call", call_id)
    assert (row["outcome"], row["error_type"], row["status"]) == ("abandoned", "client_disconnected", 0)


def test_a_request_of_the_wrong_type_is_400(proxy: Penstock, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, extra_body={"stream": "yes"})
    assert (caught.value.code, caught.value.param) == ("invalid_type", "stream")
    assert proxy.row(request_id(caught.value))["outcome"] == "rejected"


def test_a_stream_that_breaks_does_not_end_cleanly(
    proxy: Penstock, stage: Stage, client: openai.OpenAI, call_id: str
) -> None:
    heard = threading.Event()

    async def breaks(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + b"".join(chunk(event(item)) for item in chat_chunks("The ")[:2]))
        while not heard.is_set():  # What is still on its way when a connection is reset is lost with it.
            await conn.sleep(0.01)
        await conn.reset()

    stage.play(breaks)
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, extra_headers={"x-penstock-tags": f"call={call_id}"}
    ) as stream:
        next(stream)
        heard.set()
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    row = proxy.row_of_tag("call", call_id)
    assert (row["outcome"], row["error_type"], row["status"]) == ("cut", "upstream_cut", 200)


def test_a_stream_that_stalls_is_cut(proxy: Penstock, stage: Stage, client: openai.OpenAI, call_id: str) -> None:
    stage.play(stall_mid_stream(chat_chunks("The ", "gate ")[:3]))
    received = []
    with (
        pytest.raises(openai.APIConnectionError),
        client.chat.completions.create(
            model="stalling-1", messages=HELLO, stream=True, extra_headers={"x-penstock-tags": f"call={call_id}"}
        ) as stream,
    ):
        received += list(stream)
    row = proxy.row_of_tag("call", call_id)
    assert (row["outcome"], row["error_type"]) == ("cut", "idle_timeout")
    assert "The " in row["output_messages"]
    assert row["usage_source"] == "estimated"


def test_a_stream_of_a_server_without_usage_is_estimated(
    proxy: Penstock, stage: Stage, client: openai.OpenAI, call_id: str
) -> None:
    stage.play(sse(chat_chunks("The gate", " is open.")))
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, extra_headers={"x-penstock-tags": f"call={call_id}"}
    ) as stream:
        list(stream)
    row = proxy.row_of_tag("call", call_id)
    assert row["usage_source"] == "estimated"
    assert row["output_tokens"] == 5  # "The gate is open." in o200k_base
    assert row["cost"] > 0


@pytest.fixture(scope="module")
def guarded(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """Penstock with a key of its own in front of an upstream whose key it holds."""
    tmp_path: Path = tmp_path_factory.mktemp("guarded")
    with penstock(
        tmp_path,
        upstreams={"stage": {"base_url": f"{stage.url}/v1", "api_key": "env:STAGE_KEY"}},
        sections={"server": {"keys": ["env:TEAM_KEY"]}},
        environ={"STAGE_KEY": "sk-upstream", "TEAM_KEY": "pk-team"},
    ) as running:
        yield running


def test_a_wrong_key_is_401_and_recorded(guarded: Penstock) -> None:
    with (
        openai.OpenAI(base_url=guarded.base_url, api_key="pk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    row = guarded.row(request_id(caught.value))
    assert (row["outcome"], row["status"], row["key_id"]) == ("rejected", 401, "")


def test_an_accepted_key_is_named_and_does_not_travel_on(guarded: Penstock, stage: Stage) -> None:
    stage.play(json_reply(chat_reply()))
    with openai.OpenAI(base_url=guarded.base_url, api_key="pk-team", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    (request,) = stage.requests
    assert request.header("authorization") == "Bearer sk-upstream"
    assert b"pk-team" not in request.head
    row = guarded.row(raw.headers["x-penstock-request-id"])
    assert row["key_id"]
    assert "pk-team" not in guarded.output()
    assert "sk-upstream" not in guarded.output()
