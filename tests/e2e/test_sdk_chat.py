"""Chat completions through the official SDK and a real model: the reply as usual, and one row that agrees with it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic

from tests.wire.scripted import json_reply

from .model import NAME, Model
from .serve import Penstock
from .stage import Stage, chat_reply

HELLO: Any = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Say hello."}]


def assert_usage(row: dict[str, Any], usage: Any) -> None:
    assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert row["usage_source"] == "upstream"


def texts(messages: str) -> list[str]:
    """The text parts of recorded messages, in order."""
    return [part["content"] for message in json.loads(messages) for part in message["parts"] if part["type"] == "text"]


def test_a_unary_call_is_answered_and_recorded(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=12, temperature=0.5)
    reply = raw.parse()
    assert reply.choices[0].message.content
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["outcome"], row["status"], row["stream"], row["endpoint"]) == ("answered", 200, False, "chat")
    assert (row["model"], row["response_model"], row["response_id"]) == (NAME, reply.model, reply.id)
    assert (row["upstream"], row["operation"], row["attempts"]) == ("model", "chat", 1)
    assert_usage(row, reply.usage)
    assert texts(row["input_messages"]) == ["Answer briefly.", "Say hello."]
    assert texts(row["output_messages"]) == [reply.choices[0].message.content]
    assert row["finish_reasons"] == [reply.choices[0].finish_reason]
    assert json.loads(row["parameters"]) == {"max_tokens": 12, "temperature": 0.5}
    assert row["duration_ms"] > 0
    assert row["ttft_ms"] is None, "only a stream has a first chunk"


def test_a_unary_reply_tells_its_tokens_in_a_header(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=4)
    usage = raw.parse().usage
    assert usage is not None
    told = dict(part.strip().split("=") for part in raw.headers["x-penstock-tokens"].split(","))
    assert (told["input"], told["output"]) == (str(usage.prompt_tokens), str(usage.completion_tokens))
    assert "x-penstock-cost-usd" not in raw.headers, "a local model has no known price"


def test_the_cost_of_a_priced_model_is_told_and_recorded(proxy: Penstock, stage: Stage, client: openai.OpenAI) -> None:
    stage.play(json_reply(chat_reply()))
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    # USD per million tokens of gpt-4o-mini: 0.15 in, 0.075 cached, 0.60 out; 19 in of which 8 cached, 10 out.
    cost = (11 * 0.15 + 8 * 0.075 + 10 * 0.60) / 1e6
    assert abs(float(raw.headers["x-penstock-cost-usd"]) - cost) < 1e-12
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert abs(row["cost"] - cost) < 1e-12
    assert (row["cached_tokens"], row["reasoning_tokens"], row["service_tier"]) == (8, 3, "default")


async def test_the_async_client_works_alike(proxy: Penstock) -> None:
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key="sk-callers-own", max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=6)
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert texts(row["output_messages"]) == [raw.parse().choices[0].message.content]
    assert_usage(row, raw.parse().usage)


def test_a_stream_is_handed_on_and_recorded_with_the_usage_nobody_asked_for(
    proxy: Penstock, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=12, stream=True)
    with raw.parse() as stream:
        chunks = list(stream)
    assert all(chunk.choices for chunk in chunks), "the usage chunk belongs to those who ask for it"
    content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["outcome"], row["stream"], row["response_id"]) == ("answered", True, chunks[0].id)
    assert texts(row["output_messages"]) == [content]
    assert row["usage_source"] == "upstream"
    assert 0 < row["output_tokens"] <= 12
    assert 0 < row["ttft_ms"] < row["duration_ms"]


def test_a_caller_who_asks_for_usage_gets_it(proxy: Penstock, client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    raw = client.chat.completions.with_raw_response.create(
        model=NAME, messages=HELLO, max_tokens=5, stream=True, stream_options=options
    )
    with raw.parse() as stream:
        chunks = list(stream)
    assert chunks[-1].choices == []
    assert_usage(proxy.row(raw.headers["x-penstock-request-id"]), chunks[-1].usage)


def test_the_stream_helper_accumulates_what_is_recorded(proxy: Penstock, client: openai.OpenAI, call_id: str) -> None:
    with client.chat.completions.stream(
        # The helper insists on an end that is not the length's: the first space is one.
        model=NAME,
        messages=HELLO,
        max_tokens=100,
        stop=[" "],
        extra_headers={"x-penstock-tags": f"call={call_id}"},
    ) as stream:
        kinds = {event.type for event in stream}
        reply = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    row = proxy.row_of_tag("call", call_id)
    assert texts(row["output_messages"]) == [reply.choices[0].message.content]
    assert row["finish_reasons"] == [reply.choices[0].finish_reason]


class Gate(pydantic.BaseModel):
    open: bool


def test_a_schema_is_kept_by_the_model_and_parsed(proxy: Penstock, client: openai.OpenAI, call_id: str) -> None:
    reply = client.chat.completions.parse(
        model=NAME,
        messages=[{"role": "user", "content": "Is the gate open? Answer in JSON."}],
        response_format=Gate,
        max_tokens=40,
        extra_headers={"x-penstock-tags": f"call={call_id}"},
    )
    parsed = reply.choices[0].message.parsed
    assert isinstance(parsed, Gate)
    row = proxy.row_of_tag("call", call_id)
    assert json.loads(texts(row["output_messages"])[0]) == {"open": parsed.open}
    assert json.loads(row["parameters"])["response_format"]["type"] == "json_schema"


def test_tools_are_offered_called_and_recorded(proxy: Penstock, stage: Stage, client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "set_gate", "arguments": '{"height": 4}'}}
    stage.play(json_reply(_calls_tool(call)))
    tools: Any = [{"type": "function", "function": {"name": "set_gate", "parameters": {"type": "object"}}}]
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO, tools=tools)
    made = raw.parse().choices[0].message.tool_calls
    assert made is not None
    assert made[0].id == "call_1"
    row = proxy.row(raw.headers["x-penstock-request-id"])
    (message,) = json.loads(row["output_messages"])
    (part,) = message["parts"]
    assert (part["type"], part["id"], part["name"]) == ("tool_call", "call_1", "set_gate")
    assert "set_gate" in row["tool_definitions"]
    assert row["finish_reasons"] == ["tool_calls"]


def _calls_tool(call: dict[str, Any]) -> dict[str, Any]:
    reply = chat_reply("", tool_calls=[call])
    reply["choices"][0]["message"]["content"] = None
    return reply


def test_identity_comes_from_the_openai_fields_then_from_headers(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=NAME,
        messages=HELLO,
        max_tokens=2,
        user="ada",
        metadata={"session_id": "s-1", "team": "gate"},
        extra_headers={"x-penstock-tags": "team=other, route=upper", "x-penstock-user": "somebody else"},
    )
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["user"], row["session"]) == ("ada", "s-1")
    assert row["tags"] == {"session_id": "s-1", "team": "gate", "route": "upper"}


def test_penstocks_own_headers_and_the_callers_key_stay_where_they_belong(
    proxy: Penstock, stage: Stage, client: openai.OpenAI
) -> None:
    stage.play(json_reply(chat_reply()))
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=HELLO, extra_headers={"x-penstock-session": "s-2"}
    )
    (request,) = stage.requests
    assert request.header("authorization") == "Bearer sk-callers-own"
    assert b"x-penstock" not in request.head.lower()
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert row["session"] == "s-2"
    assert "sk-callers-own" not in json.dumps(row, default=str)


def test_the_commands_show_the_call(proxy: Penstock, model: Model, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=3)
    request_id = raw.headers["x-penstock-request-id"]
    proxy.row(request_id)
    listed = proxy.command("requests", "--json", "--limit", "5")
    assert request_id in listed.stdout, listed.stderr
    shown = proxy.command("requests", "show", request_id)
    assert "Say hello." in shown.stdout, shown.stderr
    stats = proxy.command("stats", "--by", "model", "--json")
    assert NAME in stats.stdout, stats.stderr
