"""Streams put together as the official SDK does it, and streams that no SDK would survive."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.assemble import assemble


def sse(values: Iterable[Any], done: bool = True) -> bytes:
    lines = [b"data: " + json.dumps(value).encode() + b"\n\n" for value in values]
    return b"".join([*lines, b"data: [DONE]\n\n"] if done else lines)


def chunk(
    delta: dict[str, Any] | None = None, index: int = 0, finish: str | None = None, **more: Any
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": more.pop("logprobs", None)}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-x"}
    return {**head, "system_fingerprint": "fp_1", "choices": [] if delta is None else [choice], **more}


def call(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    if name is None:
        return {"index": index, "function": {"arguments": arguments}}
    return {
        "index": index,
        "id": f"call_{index}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def logprobs(token: str) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -0.5, "bytes": [1], "top_logprobs": []}], "refusal": None}


NUMBERS = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
ROLE = {"role": "assistant", "content": ""}
TEXT = [chunk(ROLE), chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, finish="stop")]
TWO = [chunk(ROLE), chunk(ROLE, 1), chunk({"content": "b"}, 1), chunk({"content": "a"}), chunk({}, 1, "stop")]
CALLS = [
    chunk({"role": "assistant", "content": None, "tool_calls": [call(0, "", "f")]}),
    chunk({"tool_calls": [call(0, '{"a"')]}),
    chunk({"tool_calls": [call(0, ":1}")]}),
    chunk({"tool_calls": [call(1, "", "g")]}),
    chunk({"tool_calls": [call(1, "{}")]}),
    chunk({}, finish="tool_calls"),
]
REFUSAL = [chunk({"role": "assistant", "refusal": "I "}), chunk({"refusal": "won't"}), chunk({}, finish="stop")]
LOGPROBS = [
    chunk(ROLE),
    chunk({"content": "a"}, logprobs=logprobs("a")),
    chunk({"content": "b"}, logprobs=logprobs("b")),
]
USAGE = [*TEXT, chunk(None, usage=NUMBERS, service_tier="flex")]


def sdk_client(stream: bytes) -> openai.OpenAI:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    transport = httpx.MockTransport(answer)
    return openai.OpenAI(api_key="k", base_url="http://upstream/v1", http_client=httpx.Client(transport=transport))


def given_values(value: Any) -> Any:
    """Without what is null or absent, which the SDK's objects do not tell apart."""
    if isinstance(value, dict):
        kept = {name: given_values(inner) for name, inner in value.items() if inner is not None}
        return {name: inner for name, inner in kept.items() if name not in ("parsed", "parsed_arguments")}
    return [given_values(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("chunks", [TEXT, TWO, CALLS, REFUSAL, LOGPROBS, USAGE])
def test_chat_as_the_official_sdk_does_it(chunks: list[dict[str, Any]]) -> None:
    stream = sse(chunks)
    with sdk_client(stream) as client, client.chat.completions.stream(model="m", messages=[]) as events:
        for _ in events:
            pass
        theirs = given_values(events.get_final_completion().to_dict())
    ours = given_values(assemble("chat", stream))
    for choice in theirs["choices"]:
        for tool_call in choice["message"].get("tool_calls", ()):
            tool_call.pop("index", None)
    if not any("service_tier" in part for part in chunks[:1]):
        ours.pop("service_tier", None)  # theirs keeps the first chunk's only
    theirs.pop("service_tier", None)
    assert ours == theirs


def test_chat_to_the_unary_object() -> None:
    assert assemble("chat", sse([*CALLS, chunk(None, usage=NUMBERS, service_tier="flex")])) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "gpt-x",
        "system_fingerprint": "fp_1",
        "service_tier": "flex",
        "usage": NUMBERS,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                        {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
    }


def message(*deltas: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = assemble("chat", sse(chunk(delta) for delta in deltas))["choices"][0]["message"]
    return made


def test_fields_of_other_servers() -> None:
    assert message(ROLE, {"reasoning_content": "th"}, {"reasoning_content": "ink"}, {"content": "x"}) == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "think",
    }
    assert message({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})["role"] == "assistant"
    assert message({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}) == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }
    audio = message(
        {"audio": {"id": "a", "data": "AA", "transcript": "h"}}, {"audio": {"data": "BB", "transcript": "i"}}
    )
    assert audio["audio"] == {"id": "a", "data": "AABB", "transcript": "hi"}


def test_tool_calls_without_an_index() -> None:
    one = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
    two = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "[]"}}
    made = message({"tool_calls": [one]}, {"tool_calls": [{"function": {"arguments": "}"}}]}, {"tool_calls": [two]})
    assert [(c["id"], c["function"]["arguments"]) for c in made["tool_calls"]] == [("a", "{}"), ("b", "[]")]


def test_an_emoji_cut_between_two_chunks_is_whole_again() -> None:
    stream = b"".join(
        b'data: {"choices":[{"index":0,"delta":{"content":"\\u%s"}}]}\n\n' % half for half in (b"d83d", b"de00")
    )
    content = assemble("chat", stream)["choices"][0]["message"]["content"]
    assert content.encode("utf-16", "surrogatepass").decode("utf-16") == "\N{GRINNING FACE}"


def test_a_cut_stream_gives_what_there_is() -> None:
    stream = sse(TEXT)
    for end in range(len(stream)):
        reply = assemble("chat", stream[:end])
        content = reply["choices"][0]["message"]["content"] if reply.get("choices") else ""
        assert "Hello".startswith(content or "")
    assert content == "Hello"
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_an_error_in_the_stream_is_kept_beside_what_came_before() -> None:
    reply = assemble("chat", sse([*TEXT[:2], {"error": {"message": "m", "type": "server_error"}}]))
    assert reply["error"] == {"message": "m", "type": "server_error"}
    assert reply["choices"][0]["message"]["content"] == "Hel"


def test_completions() -> None:
    def piece(text: str, index: int, finish: str | None, offset: int) -> dict[str, Any]:
        odds = {"tokens": [text], "token_logprobs": [-1.0], "top_logprobs": None, "text_offset": [offset]}
        choice = {"text": text, "index": index, "finish_reason": finish, "logprobs": odds}
        return {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice]}

    reply = assemble("completions", sse([piece("a", 0, None, 0), piece("x", 1, "length", 0), piece("b", 0, "stop", 1)]))
    assert [(c["text"], c["finish_reason"], c["logprobs"]["tokens"]) for c in reply["choices"]] == [
        ("ab", "stop", ["a", "b"]),
        ("x", "length", ["x"]),
    ]
    assert reply["object"] == "text_completion"


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_choices_come_in_the_order_of_their_index(endpoint: Any) -> None:
    stream = sse([{"choices": [{"index": index, "delta": {"content": "x"}, "text": "x"}]} for index in (2, 0, 1)])
    assert [choice["index"] for choice in assemble(endpoint, stream)["choices"]] == [0, 1, 2]


def test_other_streams_give_their_last_facts() -> None:
    reply = assemble("other", sse([{"type": "a", "id": "1"}, {"type": "b", "model": "m", "usage": NUMBERS}]))
    assert reply == {"id": "1", "model": "m", "usage": NUMBERS}


def mostly_chunks() -> st.SearchStrategy[dict[str, Any]]:
    values: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )
    fields = ["content", "role", "refusal", "tool_calls", "function_call", "audio", "x"]
    calls = st.lists(
        st.fixed_dictionaries({}, optional={"index": values, "id": values, "function": values}), max_size=2
    )
    deltas = st.dictionaries(st.sampled_from(fields), values) | st.fixed_dictionaries({"tool_calls": calls}) | values
    choices = st.fixed_dictionaries(
        {}, optional={"index": st.integers(0, 2) | values, "delta": deltas, "text": values, "logprobs": values}
    )
    return st.fixed_dictionaries({"choices": st.lists(choices, max_size=2) | values}, optional={"usage": values})


@given(st.lists(mostly_chunks(), max_size=5), st.sampled_from(["chat", "completions", "other"]))
def test_strange_chunks_never_raise(chunks: list[dict[str, Any]], endpoint: Any) -> None:
    assert isinstance(assemble(endpoint, sse(chunks)), dict)


@given(st.binary(max_size=60), st.sampled_from(["chat", "completions", "responses", "other"]))
def test_arbitrary_bytes_never_raise(stream: bytes, endpoint: Any) -> None:
    assert isinstance(assemble(endpoint, stream), dict)
