"""What is worth keeping, streams as whole replies, and stored streams cut into their events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.call import Endpoint
from proxy.openai.meter import StreamMeter
from proxy.openai.replay import as_events, as_reply, complete, events_of
from tests.unit.proxy.openai import replies
from tests.unit.proxy.openai.replies import USAGE, chat, choice, completion, output_message, response

DONE = b"data: [DONE]\n\n"
ENDPOINTS: list[Endpoint] = ["chat", "completions", "responses", "embeddings", "moderations", "other"]


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def sse(values: Iterable[Any], end: bytes = DONE) -> bytes:
    return b"".join([b"data: " + body(value) + b"\n\n" for value in values]) + end


def chunk(index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk as OpenAI pads it."""
    delta = {} if finish else {"content": "word "}
    one = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [one], "obfuscation": "x", "usage": None, **more}


CHAT = sse([chunk(), chunk(1), chunk(), chunk(0, "stop"), chunk(1, "length"), chunk(choices=[], usage=USAGE)])
RESPONSE = b"".join(as_events("responses", response(), include_usage=False))


@pytest.mark.parametrize(
    ("endpoint", "reply"),
    [
        ("chat", chat()),
        ("chat", chat(error=None)),
        ("completions", completion("")),
        ("responses", response()),
        ("responses", response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})),
        ("responses", {"output": []}),
        ("embeddings", {"object": "list", "data": [{"embedding": [0.5], "index": 0}], "model": "m"}),
        ("moderations", {"results": [{"flagged": False}]}),
        ("other", {"anything": 1}),
    ],
)
def test_whole_bodies(endpoint: Endpoint, reply: dict[str, Any]) -> None:
    assert complete(endpoint, body(reply), stream=False)
    assert not complete(endpoint, body(reply)[:-1], stream=False)
    assert not complete(endpoint, body({**reply, "error": {"message": "m"}}), stream=False)
    assert not complete(endpoint, body([reply]), stream=False)


@pytest.mark.parametrize(
    ("endpoint", "reply"),
    [
        ("chat", {}),
        ("chat", chat(choices=[])),
        ("chat", chat(choices=None)),
        ("chat", chat(choice(), choice(1, None))),  # type: ignore[arg-type]
        ("chat", chat(choice(0, "error"))),
        ("chat", chat(choice(0, "abort"))),
        ("chat", chat(choice(message=None))),
        ("chat", completion("text")),
        ("completions", chat()),
        ("responses", {}),
        ("responses", response(status="failed")),
        ("responses", response(status="in_progress")),
        ("responses", response(output=None)),
        ("embeddings", {"data": []}),
        ("embeddings", {"object": "list"}),
        ("moderations", {"results": []}),
    ],
)
def test_bodies_that_lack_something(endpoint: Endpoint, reply: dict[str, Any]) -> None:
    assert not complete(endpoint, body(reply), stream=False)


def test_a_body_with_half_a_character_is_whole() -> None:
    reply = body(chat(choice(message=replies.message("\ud83d"))))
    assert b"\\ud83d" in reply
    assert complete("chat", reply, stream=False)


def test_whole_streams() -> None:
    assert complete("chat", CHAT, stream=True)
    assert complete("chat", CHAT.replace(b"\n", b"\r\n"), stream=True)
    assert complete("chat", b": comment\n\n" + CHAT.replace(b"\n\n", b"\n\n: keep-alive\n\n"), stream=True)
    assert complete("responses", RESPONSE, stream=True)
    assert complete("responses", RESPONSE + DONE, stream=True)
    assert complete("responses", RESPONSE.replace(b"\n", b"\r\n"), stream=True)
    incomplete = b"".join(as_events("responses", response(status="incomplete"), include_usage=False))
    assert complete("responses", incomplete, stream=True)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        DONE,
        sse([chunk(), chunk(0, "stop")], end=b""),
        sse([chunk()]),
        sse([chunk(), chunk(1), chunk(0, "stop")]),
        sse([chunk(), {"error": {"message": "m"}}, chunk(0, "stop")]),
        sse([chunk(), chunk(0, "error")]),
        sse([chunk(0, "insufficient_system_resource")]),
        sse([chunk(), "text", chunk(0, "stop")]),
        sse([chunk(), chunk(0, "stop")], end=b"data: {\n\n" + DONE),
        sse([chunk(), chunk(0, "stop")], end=DONE + b"data: 1\n\n"),
        sse([chunk(), chunk(0, "stop")], end=b"event: error\ndata: {}\n\n" + DONE),
        sse([chunk(), chunk(0, "stop")], end=b"data: [DONE]"),
    ],
)
def test_streams_that_did_not_end_well(stream: bytes) -> None:
    assert not complete("chat", stream, stream=True)
    assert as_reply("chat", stream) is None


def test_a_stream_that_is_cut_anywhere_is_not_whole() -> None:
    for endpoint, stream in (("chat", CHAT), ("responses", RESPONSE)):
        kept: list[int] = [at for at in range(len(stream)) if complete(endpoint, stream[:at], stream=True)]  # type: ignore[arg-type]
        assert kept == []


def test_a_response_stream_with_an_error_is_not_whole() -> None:
    failed = b"".join(as_events("responses", response(status="failed"), include_usage=False))
    error = b'event: error\ndata: {"type":"error","code":null,"message":"m","param":null,"sequence_number":3}\n\n'
    unnamed = b"event: error\ndata: {}\n\n"
    broken = RESPONSE.replace(b'"error":null', b'"error":{"code":"server_error","message":"m"}')
    assert broken != RESPONSE
    for stream in (
        failed,
        unnamed + RESPONSE,
        broken,
        error + RESPONSE,
        RESPONSE + error,
        error.partition(b"\n")[2] + RESPONSE,
        DONE,
    ):
        assert not complete("responses", stream, stream=True)
        assert as_reply("responses", stream) is None


def test_a_text_about_errors_is_no_error() -> None:
    words = 'event: error, then "type":"error", then [DONE]\n\ndata: [DONE]'
    told = b"".join(as_events("responses", response(output_message(replies.output_text(words))), include_usage=False))
    assert complete("responses", told, stream=True)
    chatted = b"".join(as_events("chat", chat(choice(message=replies.message(words))), include_usage=True))
    assert complete("chat", chatted, stream=True)


@pytest.mark.parametrize("endpoint", ["embeddings", "moderations", "other"])
def test_streams_of_other_endpoints_are_not_kept(endpoint: Endpoint) -> None:
    assert not complete(endpoint, CHAT, stream=True)
    assert as_reply(endpoint, CHAT) is None


def test_a_stream_as_the_whole_reply() -> None:
    whole = json.loads(as_reply("chat", CHAT) or b"")
    assert whole == {
        "id": "c",
        "object": "chat.completion",
        "usage": USAGE,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": "word " * words},
                "logprobs": None,
                "finish_reason": finish,
            }
            for index, words, finish in ((0, 2, "stop"), (1, 1, "length"))
        ],
    }


def test_runs_of_text_are_joined_only_where_nothing_else_changes() -> None:
    """The many chunks that only go on with a text are joined at once; a field that comes later is not lost in that."""
    late = [chunk(), chunk(), chunk(service_tier="flex"), chunk(), chunk(model="m"), chunk(1), chunk()]
    whole = json.loads(as_reply("chat", sse([*late, chunk(0, "stop"), chunk(1, "stop")])) or b"")
    assert (whole["service_tier"], whole["model"]) == ("flex", "m")
    assert [one["message"]["content"] for one in whole["choices"]] == ["word " * 6, "word "]
    ids = [{**chunk(), "choices": [{**chunk()["choices"][0], "token_ids": [n]}]} for n in range(3)]
    whole = json.loads(as_reply("chat", sse([*ids, chunk(0, "stop")])) or b"")
    assert whole["choices"][0]["message"]["content"] == "word " * 3
    assert whole["choices"][0]["token_ids"] == [2]


def test_the_same_token_twice_has_its_log_probability_twice() -> None:
    odds = {"content": [replies.token("word ")], "refusal": None}
    twice = [{**chunk(), "choices": [{**chunk()["choices"][0], "logprobs": odds}]}] * 2
    whole = json.loads(as_reply("chat", sse([*twice, chunk(0, "stop")])) or b"")
    assert whole["choices"][0]["logprobs"]["content"] == odds["content"] * 2


def test_what_a_server_leaves_empty_later_is_kept() -> None:
    filtered = {"id": "", "object": "", "model": "", "created": 0, "choices": [{"index": 0, "finish_reason": None}]}
    begun = {**chunk(), "model": "m", "created": 7}
    whole = json.loads(as_reply("chat", sse([begun, chunk(0, "stop"), filtered])) or b"")
    assert (whole["id"], whole["object"], whole["model"], whole["created"]) == ("c", "chat.completion", "m", 7)


def test_a_response_is_given_as_the_upstream_wrote_it() -> None:
    wrote = RESPONSE[RESPONSE.rindex(b'"response":') + 11 : -3]
    assert json.loads(wrote) == response()
    assert as_reply("responses", RESPONSE) == wrote


def test_a_response_whose_last_event_lacks_the_output_gets_it_from_the_items() -> None:
    last = {"type": "response.completed", "sequence_number": 9, "response": {**response(), "output": None}}
    stream = b"".join(as_events("responses", response(), include_usage=False)[:-1]) + sse([last], end=b"")
    assert json.loads(as_reply("responses", stream) or b"") == response()


def test_the_events_of_a_stream_are_its_bytes() -> None:
    assert events_of(CHAT) == [event + b"\n\n" for event in CHAT.split(b"\n\n")[:-1]]
    assert events_of(b"data: 1\n\ndata: 2") == [b"data: 1\n\n", b"data: 2"]
    assert events_of(b"") == []


@given(st.lists(st.sampled_from([b"data: 1", b": c", b"\n", b"\r", b"\r\n", b"\n\n"])).map(b"".join))
def test_the_events_of_any_stream_joined_are_the_stream(stream: bytes) -> None:
    assert b"".join(events_of(stream)) == stream
    assert all(events_of(stream))


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_the_meter_hides_the_usage_of_a_stored_stream(endpoint: Endpoint) -> None:
    reply = chat(choice(), choice(1)) if endpoint == "chat" else completion("one two", "three")
    asked = as_events(endpoint, reply, include_usage=True)
    meter = StreamMeter(endpoint, hide_usage=True)
    shown = [kept for event in events_of(b"".join(asked)) if (kept := meter.feed(event))]
    assert shown == [event for event in asked if b'"choices":[]' not in event]
    assert len(shown) == len(asked) - 1
    assert meter.finish() == b""
    assert meter.done
    assert meter.usage is not None


@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda data: b"data: " + data + b"\n\n" + DONE))
def test_any_bytes_never_raise(data: bytes) -> None:
    for endpoint in ENDPOINTS:
        complete(endpoint, data, stream=True)
        complete(endpoint, data, stream=False)
        as_reply(endpoint, data)


@given(st.lists(replies.json_values, max_size=3), st.sampled_from(ENDPOINTS))
def test_any_values_never_raise(values: list[Any], endpoint: Endpoint) -> None:
    complete(endpoint, sse(values), stream=True)
    as_reply(endpoint, sse([*values, chunk(0, "stop")]))
    for value in values:
        complete(endpoint, body(value), stream=False)
