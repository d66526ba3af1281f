"""Captured bodies to the fields of a record; and every way in which bodies can be unreadable."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.record import CallRecord, encode
from proxy.openai.understand import _understand, understand

REQUEST = {
    "model": "gpt-x",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "temperature": 0.5,
    "stop": ["a"],
    "max_tokens": 5,
    "stream": False,
    "min_p": 0.1,
    "user": "ann",
    "metadata": {"secret": "text"},
    "prediction": {"type": "content", "content": "text"},
    "service_tier": "auto",
    "seed": None,
}
REPLY = {
    "id": "chatcmpl-1",
    "model": "gpt-x-2026",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}},
    "service_tier": "flex",
    "system_fingerprint": "fp_1",
}
CHUNKS = [
    {"id": "chatcmpl-1", "model": "gpt-x-2026", "choices": [{"index": 0, "delta": {"content": "ho"}}]},
    {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "system_fingerprint": "fp_1"},
    {"id": "chatcmpl-1", "choices": [], "usage": REPLY["usage"], "service_tier": "flex"},
]
STREAM = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS) + b"data: [DONE]\n\n"


def record(request: Any = REQUEST, reply: Any = REPLY, **fields: Any) -> CallRecord:
    def body(value: Any) -> bytes | None:
        return value if isinstance(value, bytes | None) else json.dumps(value).encode()

    known: dict[str, Any] = {
        "request_id": "r",
        "trace_id": "t",
        "span_id": "s",
        "start_ns": 1,
        "end_ns": 2,
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "status": 200,
        "outcome": "answered",
        "request_type": "application/json",
        "response_type": "application/json",
    }
    return CallRecord(**{**known, **fields}, request_body=body(request), response_body=body(reply))


def fields_of(made: CallRecord, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(made, name) for name in names)


def test_a_chat_call() -> None:
    made = understand(record())
    assert json.loads(made.input_messages or "") == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    assert json.loads(made.output_messages or "") == [
        {"role": "assistant", "parts": [{"type": "text", "content": "ho"}], "finish_reason": "stop"}
    ]
    assert json.loads(made.tool_definitions or "") == [{"type": "function", "name": "f", "parameters": {}}]
    assert made.system_instructions is None
    assert fields_of(made, "request_model", "response_model", "response_id") == ("gpt-x", "gpt-x-2026", "chatcmpl-1")
    assert fields_of(made, "finish_reasons", "system_fingerprint") == (["stop"], "fp_1")
    assert fields_of(made, "service_tier_requested", "service_tier") == ("auto", "flex")
    assert fields_of(made, "usage_source", "input_tokens", "cached_tokens", "output_tokens") == ("upstream", 3, 1, 4)
    assert fields_of(made, "request_body", "response_body") == (None, None)


def test_parameters_are_what_was_sent_and_no_content() -> None:
    assert understand(record()).parameters == {
        "temperature": 0.5,
        "stop": ["a"],
        "max_tokens": 5,
        "min_p": 0.1,
        "service_tier": "auto",
    }


def test_a_stream_is_understood_as_the_same_call() -> None:
    unary = understand(record())
    streams = [
        record(reply=STREAM, stream=True, response_type="text/event-stream; charset=utf-8"),
        record(reply=STREAM, stream=True, response_type=""),
        record(reply=gzip.compress(STREAM), response_type="text/event-stream", response_encoding="gzip"),
    ]
    for made in map(understand, streams):
        assert msgspec.structs.replace(made, stream=False, response_type="", response_encoding="") == (
            msgspec.structs.replace(unary, response_type="")
        )


def test_an_error_answered_to_a_stream_call_is_json() -> None:
    error = {"error": {"message": "No.", "type": "invalid_request_error", "code": "bad"}}
    made = understand(record(reply=error, status=400, stream=True))
    assert fields_of(made, "error_type", "error_message", "output_messages") == ("bad", "No.", None)


def test_an_error_inside_a_stream_is_seen() -> None:
    broken = STREAM.partition(b"\n\n")[0] + b'\n\ndata: {"error":{"message":"m","type":"server_error"}}\n\n'
    made = understand(record(reply=broken, stream=True, response_type="text/event-stream"))
    assert fields_of(made, "error_type", "error_message") == ("server_error", "m")
    assert '"ho"' in (made.output_messages or "")


def test_with_content_off_only_the_numbers_are_read() -> None:
    error = {"error": {"message": "You said: hi", "type": "t"}, **REPLY}
    made = understand(record(reply=error, status=400, content="off"))
    assert fields_of(made, "input_messages", "output_messages", "tool_definitions", "error_message") == (
        None,
        None,
        None,
        "",
    )
    assert fields_of(made, "input_tokens", "error_type", "response_id") == (3, "t", "chatcmpl-1")
    assert made.parameters["temperature"] == 0.5


def test_what_the_worker_wrote_stays() -> None:
    known: dict[str, Any] = {
        "usage_source": "upstream",
        "input_tokens": 99,
        "response_id": "x",
        "response_model": "y",
        "service_tier": "z",
        "error_type": "cut",
        "request_model": "m",
        "finish_reasons": ["length"],
        "parameters": {"n": 2},
    }
    made = understand(record(**known, status=500))
    assert {name: getattr(made, name) for name in known} == known
    assert made.cached_tokens is None


def test_a_second_time_changes_nothing() -> None:
    once = understand(record())
    again = understand(msgspec.structs.replace(once))
    assert again == once


def test_a_stored_response_that_is_read_again_is_not_counted_again() -> None:
    stored = record(None, REPLY, method="GET", path="/v1/responses/resp_1", endpoint="other")
    assert fields_of(understand(stored), "usage_source", "input_tokens", "response_id") == ("", None, "chatcmpl-1")
    image = {"created": 1, "usage": {"input_tokens": 5, "output_tokens": 6}}
    made = understand(record({"model": "gpt-image", "prompt": "a cat"}, image, path="/v1/images", endpoint="other"))
    assert fields_of(made, "request_model", "input_tokens", "parameters") == ("gpt-image", 5, {})
    assert made.input_messages is None


def test_coded_request_bodies_are_read() -> None:
    packed = record(gzip.compress(json.dumps(REQUEST).encode()), request_encoding="gzip")
    assert understand(packed).parameters["temperature"] == 0.5
    unknown = understand(record(b"...", request_encoding="dcb"))
    assert fields_of(unknown, "parameters", "response_id") == ({}, "chatcmpl-1")


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "audio/mpeg", "image/png", "application/octet-stream"]
)
def test_binary_bodies_are_not_read(kind: str) -> None:
    made = understand(record(request_type=kind, response_type=kind, endpoint="other"))
    assert fields_of(made, "request_model", "response_id", "parameters") == ("", "", {})


def test_a_stream_whose_capture_stopped_gives_what_there_is() -> None:
    made = understand(record(reply=STREAM[:-200], stream=True, response_type="text/event-stream", truncated=True))
    assert '"ho"' in (made.output_messages or "")


def test_a_request_whose_capture_stopped_is_left_out() -> None:
    made = understand(record(json.dumps(REQUEST).encode()[:-5], truncated=True))
    assert (made.input_messages, made.response_id) == (None, "chatcmpl-1")


def test_a_fault_of_ours_is_logged_without_content(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("private text")

    monkeypatch.setattr("proxy.openai.understand.conversation", fail)
    made = understand(record())
    assert fields_of(made, "request_body", "response_body", "response_id") == (None, None, "chatcmpl-1")
    assert "RuntimeError" in caplog.text
    assert "private" not in caplog.text


NAMES = st.sampled_from(
    [*REQUEST, *REPLY, "message", "delta", "content", "role", "error", "output", "input", "status", "type"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(JSON, max_size=3).map(
        lambda values: b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    ),
    st.just(b'{"messages":[{"role":"user","content":"\\ud83d"}],"seed":1e999,"n":' + b"9" * 40 + b"}"),
    st.just(b"[" * 100_000),
)
CODINGS = st.sampled_from(["", "gzip", "br", "zstd", "deflate", "nonsense"])


@given(
    BODIES,
    BODIES,
    st.sampled_from(["chat", "completions", "responses", "embeddings", "moderations", "other", "unheard of"]),
    st.sampled_from(["application/json", "text/event-stream", "", "multipart/form-data"]),
    st.booleans(),
    CODINGS,
    st.sampled_from([200, 400]),
)
def test_never_raises_and_the_record_can_be_stored(
    request_: bytes, reply: bytes, endpoint: str, kind: str, stream: bool, coding: str, status: int
) -> None:
    made = record(
        request_, reply, endpoint=endpoint, response_type=kind, stream=stream, response_encoding=coding, status=status
    )
    _understand(made)  # the rescue around it is for faults that are not known
    understand(made)
    assert (made.request_body, made.response_body) == (None, None)
    encode(made)
    for text in (made.input_messages, made.output_messages, made.system_instructions, made.tool_definitions):
        assert text is None or json.loads(text, parse_constant=pytest.fail)
