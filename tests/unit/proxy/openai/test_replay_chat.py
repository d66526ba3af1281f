"""Whole chat and text completions told as streams that say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from proxy.openai.assemble import assemble
from proxy.openai.call import Endpoint
from proxy.openai.replay import as_events, complete
from tests.unit.proxy.openai import replies
from tests.unit.proxy.openai.replies import CITATION, SENTENCE, USAGE, call, chat, choice, completion, message, token


def told(reply: dict[str, Any], endpoint: Endpoint = "chat", *, usage: bool = True) -> list[dict[str, Any]]:
    """The chunks, and that they are framed as they must be."""
    events = as_events(endpoint, reply, include_usage=usage)
    assert events.pop() == b"data: [DONE]\n\n"
    for event in events:
        assert event.startswith(b"data: {")
        assert event.endswith(b"}\n\n")
        assert event.count(b"\n") == 2
    return [json.loads(event[6:]) for event in events]


def deltas(reply: dict[str, Any]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in told(reply, usage=False)]


def test_a_text_in_the_order_of_openai() -> None:
    chunks = told(chat(choice(message=message("one two"))))
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-x-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
    role = {"role": "assistant", "content": "", "refusal": None, "annotations": []}
    expected = [(role, None), ({"content": "one two"}, None), ({}, "stop")]
    assert chunks == [
        *(
            {
                **head,
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
                "usage": None,
            }
            for delta, finish in expected
        ),
        {**head, "choices": [], "usage": USAGE},
    ]


def test_a_text_comes_in_words() -> None:
    content = [delta["content"] for delta in deltas(chat(choice(message=message(SENTENCE * 4)))) if "content" in delta]
    assert "".join(content) == SENTENCE * 4
    assert 10 < len(content) < 20
    assert all(piece.startswith(" ") for piece in content[2:])


def test_no_usage_for_who_did_not_ask() -> None:
    chunks = told(chat(), usage=False)
    assert chunks
    assert not any("usage" in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)


def test_a_reply_without_usage_gives_none() -> None:
    reply = chat()
    del reply["usage"]
    assert told(reply, usage=True) == told(chat(), usage=False)


def test_reasoning_comes_before_the_answer_and_calls_after_it() -> None:
    body = message(
        "It is heavy.",
        reasoning_content="How heavy?",
        reasoning_details=[{"type": "reasoning.text", "text": "How heavy?", "index": 0}],
        annotations=[CITATION],
        tool_calls=[call(0), call(1, "wrap", "{}")],
    )
    keys = [next(iter(delta), "") for delta in deltas(chat(choice(0, "tool_calls", message=body)))]
    assert [key for key, before in zip(keys, ["", *keys], strict=False) if key != before] == [
        "role",
        "reasoning_content",
        "reasoning_details",
        "content",
        "annotations",
        "tool_calls",
        "",
    ]


def test_a_call_begins_with_its_name_and_its_arguments_follow() -> None:
    arguments = '{"goods": "two sacks of flour and one of salt", "kilograms": 12}'
    custom = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "2 + 2"}}
    body = message(None, tool_calls=[call(0, arguments=arguments), custom])
    pieces = [delta["tool_calls"] for delta in deltas(chat(choice(message=body))) if "tool_calls" in delta]
    assert all(len(piece) == 1 for piece in pieces)
    flat = [piece[0] for piece in pieces]
    function = {"name": "weigh", "arguments": ""}
    assert flat[0] == {"index": 0, "id": "call_0", "type": "function", "function": function}
    assert len(flat) == 6
    assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in flat[1:4])
    assert flat[4:] == [
        {"index": 1, "id": "call_1", "type": "custom", "custom": {"name": "run", "input": ""}},
        {"index": 1, "custom": {"input": "2 + 2"}},
    ]


def test_log_probabilities_are_on_the_chunks_that_hold_their_tokens() -> None:
    words = [f" word{n}" for n in range(12)]
    odds = {"content": [token(word) for word in words], "refusal": None}
    chunks = told(chat(choice(message=message("".join(words)), logprobs=odds)), usage=False)
    held = [one for one in (chunk["choices"][0] for chunk in chunks) if one["logprobs"]]
    assert len(held) > 2
    for one in held:
        assert "".join(entry["token"] for entry in one["logprobs"]["content"]) == one["delta"]["content"]


def test_log_probabilities_of_half_characters_are_not_lost() -> None:
    odds = {"content": [token("\\xe7\\x95"), token("\\x8c")], "refusal": None}
    reply = chat(choice(message=message("界"), logprobs=odds))
    assert assemble("chat", b"".join(as_events("chat", reply, include_usage=True))) == reply


def test_log_probabilities_of_a_refusal() -> None:
    odds = {"content": None, "refusal": [token("I "), token("won't")]}
    body = message(None, refusal="I won't")
    chunks = told(chat(choice(message=body, logprobs=odds)), usage=False)
    held = [one for one in (chunk["choices"][0] for chunk in chunks) if one["logprobs"]]
    assert [one["delta"] for one in held] == [{"refusal": "I won't"}]


def test_sound_ends_with_the_time_it_expires_alone() -> None:
    audio = {"id": "audio_1", "data": "AAAA" * 20_000, "transcript": SENTENCE, "expires_at": 7}
    pieces = [d["audio"] for d in deltas(chat(choice(message=message(None, audio=audio)))) if "audio" in d]
    assert pieces[0] == {"id": "audio_1", "data": "", "transcript": ""}
    assert pieces[-1] == {"expires_at": 7}
    assert [len(piece["data"]) % 4 for piece in pieces[1:] if "data" in piece] == [0, 0, 0]


def test_choices_come_in_the_order_of_their_index() -> None:
    chunks = told(chat(choice(1, message=message("one")), choice(0, message=message("zero"))), usage=False)
    texts = [(one["index"], one["delta"].get("content")) for one in (chunk["choices"][0] for chunk in chunks)]
    assert [pair for pair in texts if pair[1]] == [(0, "zero"), (1, "one")]
    assert texts == sorted(texts, key=lambda pair: pair[0])


def test_a_call_is_numbered_by_its_place_whatever_it_says_itself() -> None:
    calls = [{**call(0), "index": 5}, {**call(1), "index": None}]
    pieces = [
        piece
        for delta in deltas(chat(choice(message=message(tool_calls=calls))))
        for piece in delta.get("tool_calls", ())
    ]
    assert [piece["index"] for piece in pieces] == [0, 0, 1, 1]


def test_fields_of_other_servers_are_sent_once() -> None:
    reply = chat(choice(stop_reason=None, matched=3), citations=["http://a.example/"], kv_transfer_params=None)
    chunks = told(reply)
    assert [("citations" in chunk, "kv_transfer_params" in chunk) for chunk in chunks[:2]] == [
        (True, True),
        (False, False),
    ]
    ending = next(chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["finish_reason"])
    assert (ending["stop_reason"], ending["matched"]) == (None, 3)


def test_moderation_has_a_chunk_of_its_own_before_usage() -> None:
    chunks = told(chat(moderation={"input": {}, "output": {}}))
    assert [bool(chunk.get("moderation")) for chunk in chunks[-3:]] == [False, True, False]
    assert chunks[-2]["choices"] == []
    assert chunks[-1]["usage"] == USAGE


@pytest.mark.parametrize(
    "reply",
    [
        {},
        chat(choices=[]),
        chat(choices={"0": choice()}),
        chat(choices=[None]),
        chat(choices=[choice(), "x"]),
        chat(choice(0), choice(0)),
        chat(choice(1)),
        chat(choice(0), choice(2)),
        chat(choice("0")),  # type: ignore[arg-type]
        chat(choice(finish=None)),  # type: ignore[arg-type]
        chat(choice(message=None)),
        chat(choice(message=message(tool_calls=[call(0), "call"]))),
        chat(choice(message=message(tool_calls="call"))),
        completion("text"),
    ],
)
def test_what_cannot_be_told_is_not(reply: dict[str, Any]) -> None:
    assert as_events("chat", reply, include_usage=True) == []


def test_completions_that_cannot_be_told_are_not() -> None:
    assert as_events("completions", chat(), include_usage=True) == []
    assert as_events("completions", completion(), include_usage=True) == []


def test_what_has_no_json_text_is_not_told() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert as_events("chat", chat(choice(message=message(extra=deep))), include_usage=True) == []


@pytest.mark.parametrize("endpoint", ["embeddings", "moderations", "other"])
def test_other_endpoints_have_no_streams(endpoint: Endpoint) -> None:
    assert as_events(endpoint, chat(), include_usage=True) == []


def test_a_choice_without_an_index_has_the_one_of_its_place() -> None:
    one, two = choice(), choice()
    del one["index"], two["index"]
    assert {chunk["choices"][0]["index"] for chunk in told(chat(one, two), usage=False)} == {0, 1}


def test_half_characters_are_escaped_and_meet_again() -> None:
    events = as_events("chat", chat(choice(message=message("x" * 31 + "\ud83d\ude00"))), include_usage=False)
    content = assemble("chat", b"".join(events))["choices"][0]["message"]["content"]
    assert content.encode("utf-16", "surrogatepass").decode("utf-16") == "x" * 31 + "\N{GRINNING FACE}"


@given(replies.chats())
def test_a_chat_told_and_put_together_again_is_itself(reply: dict[str, Any]) -> None:
    events = as_events("chat", reply, include_usage=True)
    assert assemble("chat", b"".join(events)) == reply
    assert complete("chat", b"".join(events), stream=True)


@given(replies.completions())
def test_a_completion_told_and_put_together_again_is_itself(reply: dict[str, Any]) -> None:
    events = as_events("completions", reply, include_usage=True)
    assert assemble("completions", b"".join(events)) == reply
    assert complete("completions", b"".join(events), stream=True)


def test_fields_beside_the_tokens_of_a_completion_are_told_once() -> None:
    words = [f" word{n}" for n in range(12)]
    odds = {"tokens": words, "token_logprobs": [-1.0] * 12, "top_logprobs": None, "of_another_server": [1] * 14}
    reply = completion("".join(words), logprobs=odds)
    assert len(told(reply, "completions")) > 3
    assert assemble("completions", b"".join(as_events("completions", reply, include_usage=True))) == reply


@given(replies.completions())
def test_text_and_tokens_of_a_completion_go_together(reply: dict[str, Any]) -> None:
    for chunk in told(reply, "completions", usage=False):
        one = chunk["choices"][0]
        odds = one["logprobs"]
        whole = reply["choices"][one["index"]]
        if odds and "".join(whole["logprobs"]["tokens"]) == whole["text"]:
            assert "".join(odds["tokens"]) == one["text"]
            assert len(odds["text_offset"]) == len(odds["tokens"])


@settings(max_examples=30)
@given(replies.chats().filter(lambda reply: reply.get("moderation") is None))
def test_every_chunk_is_what_the_sdk_expects(reply: dict[str, Any]) -> None:
    for chunk in told(reply):
        if '"type": "custom"' in json.dumps(chunk):
            continue  # it has no type for the calls of custom tools in a stream
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)


def mangled() -> st.SearchStrategy[dict[str, Any]]:
    """Replies in which any of the fields is another value."""
    junk = replies.json_values
    body = st.dictionaries(st.sampled_from(list(message(tool_calls=[], function_call=None, audio=None, x=None))), junk)
    one = st.fixed_dictionaries({"message": body | junk, "text": junk}, optional={"index": junk, "logprobs": junk})
    calls = st.lists(st.dictionaries(st.sampled_from(["id", "type", "function", "custom", "index"]), junk), max_size=2)
    called = st.fixed_dictionaries({"message": st.fixed_dictionaries({"tool_calls": calls, "function_call": junk})})
    ended = (one | called).map(lambda value: {**value, "finish_reason": "stop"})
    head = st.dictionaries(st.sampled_from(["id", "model", "usage", "object", "created", "moderation", "y"]), junk)
    return st.tuples(head, st.lists(ended | junk, max_size=2) | junk).map(lambda pair: {**pair[0], "choices": pair[1]})


@given(mangled(), st.sampled_from(["chat", "completions", "responses"]), st.booleans())
def test_odd_replies_never_raise(reply: dict[str, Any], endpoint: Endpoint, usage: bool) -> None:
    events = as_events(endpoint, reply, include_usage=usage)
    assert events == [] or events[-1] == b"data: [DONE]\n\n"
    for event in events[:-1]:
        json.loads(event[6:])
