"""The meter: what it forwards, byte for byte, and what it has seen, however the stream was cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.exchange import Endpoint
from proxy.openai.meter import PENDING_BYTES_MAX, StreamMeter
from proxy.openai.usage import Usage


def event(value: dict[str, Any], end: bytes = b"\n\n", name: bytes = b"") -> bytes:
    line_end = end[: len(end) // 2]
    return (b"event: " + name + line_end if name else b"") + b"data: " + json.dumps(value).encode() + end


def chunk(delta: dict[str, Any] | None = None, usage: Any = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
    return {"id": "chatcmpl-1", "model": "gpt-x", "choices": choices, "usage": usage, **more}


NUMBERS = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
ROLE = event(chunk({"role": "assistant", "content": ""}))
TEXT = event(chunk({"content": "hi"}))
LAST = event(chunk({}, service_tier="flex"))
USAGE = event(chunk(None, NUMBERS, service_tier="priority"))
DONE = b"data: [DONE]\n\n"
STREAM = ROLE + TEXT + LAST + USAGE + DONE


def run(pieces: list[bytes], endpoint: Endpoint = "chat", *, hide: bool = True) -> tuple[bytes, StreamMeter]:
    meter = StreamMeter(endpoint, hide_usage=hide)
    out = [meter.feed(piece) for piece in pieces]
    return b"".join([*out, meter.finish()]), meter


def seen(meter: StreamMeter) -> tuple[Any, ...]:
    return meter.done, meter.usage, meter.content_seen, meter.service_tier, meter.response_id, meter.response_model


def test_the_usage_chunk_is_hidden_and_read() -> None:
    out, meter = run([ROLE, TEXT, LAST, USAGE, DONE])
    assert out == ROLE + TEXT + LAST + DONE
    assert seen(meter) == (True, Usage(input_tokens=3, output_tokens=4), True, "priority", "chatcmpl-1", "gpt-x")


def test_the_usage_chunk_that_the_caller_asked_for_stays() -> None:
    pieces = [STREAM[i : i + 7] for i in range(0, len(STREAM), 7)]
    meter = StreamMeter("chat", hide_usage=False)
    assert all(meter.feed(piece) is piece for piece in pieces), "the same object: nothing is copied on this way"
    assert meter.finish() == b""
    assert meter.usage == Usage(input_tokens=3, output_tokens=4)


def test_usage_on_a_chunk_with_choices_is_read_and_stays() -> None:
    with_choices = event(chunk({"content": "!"}, NUMBERS))
    out, meter = run([ROLE, with_choices, DONE])
    assert out == ROLE + with_choices + DONE
    assert meter.usage == Usage(input_tokens=3, output_tokens=4)


@pytest.mark.parametrize(
    "stays",
    [
        event(chunk(None, None, prompt_filter_results=[])),
        event(chunk(None, NUMBERS, moderation={"input": {}})),
        event({"usage": NUMBERS}),
        b": ping\n\n",
        b'data: {"choices":[],"usage":{}\n\n',
        b"data: [DONE]",
        b"data: {",
        b"\n\n\n",
    ],
)
def test_anything_else_stays(stays: bytes) -> None:
    assert run([TEXT, stays, DONE])[0] == TEXT + stays + DONE
    assert run([TEXT + stays[:-1], stays[-1:], DONE])[0] == TEXT + stays + DONE


def test_text_that_speaks_of_usage_is_only_text() -> None:
    text = event(chunk({"content": 'data: [DONE] "usage": {"prompt_tokens": 9} "choices":[] response.completed'}))
    for endpoint in ("chat", "responses"):
        out, meter = run([TEXT, text], endpoint)
        assert (out, meter.done, meter.usage) == (TEXT + text, False, None)


def test_the_latest_of_running_totals_counts() -> None:
    first, last = (event(chunk({"content": "x"}, {"prompt_tokens": 3, "completion_tokens": n})) for n in (1, 2))
    assert run([first, last])[1].usage == Usage(input_tokens=3, output_tokens=2)


def test_comments_before_the_hidden_event_stay() -> None:
    stream = TEXT + b": ping\n" + USAGE + DONE
    assert run([stream])[0] == TEXT + b": ping\n" + DONE


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_a_whole_event_is_never_held_back(end: bytes) -> None:
    text = event(chunk({"content": "x"}))[:-2] + end
    for cut in range(1, len(text)):
        meter = StreamMeter("chat", hide_usage=True)
        assert meter.feed(text[:cut]) + meter.feed(text[cut:]) == text
        assert meter.feed(text + b"data: ") == text
        assert meter.feed(text[6:]) == b"data: " + text[6:]


def test_an_endless_event_is_passed_on_and_the_next_one_read() -> None:
    meter = StreamMeter("chat", hide_usage=True)
    piece = b"data: " + b"x" * 300_000
    sent = b"".join([meter.feed(piece) for _ in range(5)])
    assert len(sent) > PENDING_BYTES_MAX
    sent += meter.feed(b"\n\n" + TEXT + USAGE + DONE) + meter.finish()
    assert sent == piece * 5 + b"\n\n" + TEXT + DONE
    assert (meter.done, meter.content_seen, meter.usage) == (True, True, Usage(input_tokens=3, output_tokens=4))


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None}, False),
        ({}, False),
        ({"content": "x"}, True),
        ({"reasoning_content": "x"}, True),
        ({"reasoning": "x"}, True),
        ({"refusal": "x"}, True),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"id": "a"}}, True),
    ],
)
def test_what_is_content_in_chat(delta: dict[str, Any], content: bool) -> None:
    assert run([event(chunk(delta))])[1].content_seen is content


def test_what_is_content_in_completions() -> None:
    assert not run([event({"choices": [{"text": ""}]})], "completions")[1].content_seen
    assert run([event({"choices": [{"text": "x"}]})], "completions")[1].content_seen


def response_stream(last: str) -> list[bytes]:
    response = {"id": "resp_1", "model": "gpt-x", "service_tier": "auto", "usage": None}
    final = {**response, "service_tier": "flex", "usage": {"input_tokens": 5, "output_tokens": 6}}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": response}),
        ("response.output_item.added", {"item": {"id": "msg_1"}}),
        ("response.output_text.delta", {"delta": "hi"}),
        (last, {"response": final}),
    ]
    return [event({"type": kind, **rest}, name=kind.encode()) for kind, rest in kinds]


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete", "response.failed"])
def test_responses(last: str) -> None:
    pieces = response_stream(last)
    meter = StreamMeter("responses", hide_usage=False)
    content = []
    for piece in pieces:
        assert meter.feed(piece) is piece
        content.append(meter.content_seen)
    assert content == [False, False, True, True]
    assert seen(meter) == (True, Usage(input_tokens=5, output_tokens=6), True, "flex", "resp_1", "gpt-x")
    assert not run(pieces[:3], "responses")[1].done


def test_an_error_event_ends_a_response() -> None:
    error = event({"type": "error", "code": "server_error", "message": "m"})
    assert run([*response_stream("response.completed")[:3], error], "responses")[1].done


def test_usage_of_other_streams() -> None:
    pieces = [
        event({"type": "transcript.text.delta", "delta": "a"}),
        event({"type": "transcript.text.done", "usage": {"input_tokens": 14, "output_tokens": 45}}),
    ]
    meter = run(pieces, "other", hide=True)[1]
    assert (meter.content_seen, meter.usage) == (True, Usage(input_tokens=14, output_tokens=45))


ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\r\r\n"])
EVENTS = st.sampled_from(
    [b"data: [DONE]", b": ping", b"data: {}", b"data: x", b"", b"event: e", *(e.rstrip() for e in (ROLE, TEXT, USAGE))]
)
STREAMS = st.lists(st.tuples(EVENTS, ENDS), max_size=8)


def hidden(events: list[tuple[bytes, bytes]]) -> bytes:
    """The events without that of the usage, whose last line end is a CRLF when its CR meets an LF."""
    out = b""
    for (body, end), before in zip(events, [(b"", b""), *events], strict=False):
        if body == USAGE.rstrip():
            continue
        is_rest_of_crlf = before[0] == USAGE.rstrip() and before[1].endswith(b"\r") and (body + end).startswith(b"\n")
        out += (body + end)[is_rest_of_crlf:]
    return out


@given(STREAMS, st.lists(st.integers(0, 5000), max_size=12), st.booleans())
@example([(TEXT.rstrip(), b"\r\r"), (USAGE.rstrip(), b"\r\n\r\n"), (TEXT.rstrip(), b"\r\r\n")], list(range(2000)), True)
@example([(USAGE.rstrip(), b"\r\r"), (b"", b"\n\n")], [], True)
@example([(USAGE.rstrip(), b"\r\r"), (b"", b"\n\n")], list(range(2000)), True)
def test_any_split_forwards_the_same_bytes_and_sees_the_same(
    events: list[tuple[bytes, bytes]], at: list[int], hide: bool
) -> None:
    stream = b"".join(body + end for body, end in events)
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    whole, whole_meter = run([stream], hide=hide)
    out, meter = run(pieces, hide=hide)
    assert out == whole == (hidden(events) if hide else stream)
    assert seen(meter) == seen(whole_meter)


@given(st.binary(max_size=80), st.integers(1, 30), st.sampled_from(["chat", "responses", "other"]))
def test_arbitrary_bytes_pass_unchanged(stream: bytes, size: int, endpoint: Endpoint) -> None:
    assert run([stream[i : i + size] for i in range(0, len(stream), size)], endpoint)[0] == stream
