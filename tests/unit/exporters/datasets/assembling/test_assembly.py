"""Whatever API a conversation was held in, the recorder's record of it becomes the same chat messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.assembling.assembly import assemble
from exporters.datasets.example import Example, Message, Row
from exporters.datasets.options import Clean, Options, Select
from exporters.datasets.reasons import Reason
from exporters.messages import from_chat, from_chat_message
from tests.unit.exporters.datasets.recorded import recorded, streamed
from tests.unit.proxy.openai import replies

OPTIONS = Options(name="test")
USER = {"role": "user", "content": "Weigh the gate."}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weigh", "arguments": '{"kilograms": 12}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "12 kg"}
TOOL = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object"}}}
PIXEL = "data:image/png;base64," + "A" * 400


def said(content: Any, **fields: Any) -> Message:
    return {"role": "assistant", "content": content, **fields}


def example(row: Row, options: Options = OPTIONS) -> Example:
    made = assemble(row, options)
    assert isinstance(made, Example), made
    return made


TEXTS = st.text(max_size=12)
CALLS = st.builds(
    lambda number, name, arguments: {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    st.integers(0, 9),
    TEXTS,
    TEXTS,
)
PARTS = st.one_of(
    st.builds(
        lambda text, more: {"type": "text", "text": text, **more},
        TEXTS,
        st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}]),
    ),
    st.builds(
        lambda url, detail: {"type": "image_url", "image_url": {"url": url, **detail}},
        st.sampled_from(["https://a.example/x.png", PIXEL]),
        st.sampled_from([{}, {"detail": "low"}]),
    ),
)
ASKED = st.one_of(
    st.builds(
        lambda role, content, name: {"role": role, "content": content, **name},
        st.sampled_from(["system", "developer", "user"]),
        TEXTS | st.lists(PARTS, min_size=1, max_size=3),
        st.sampled_from([{}, {"name": "ann"}]),
    ),
    st.builds(lambda text: {"role": "tool", "tool_call_id": "call_1", "content": text}, TEXTS),
)
ANSWERS = st.one_of(
    st.builds(said, TEXTS),
    st.builds(
        lambda text, calls: said(text, tool_calls=calls), st.none() | TEXTS, st.lists(CALLS, min_size=1, max_size=3)
    ),
    st.builds(lambda text: said(None, refusal=text), st.text(min_size=1, max_size=12)),
)


@given(st.lists(ASKED | ANSWERS, min_size=1, max_size=6), ANSWERS)
def test_a_chat_comes_back_as_it_was(asked: list[Message], answer: Message) -> None:
    row = Row(
        request_id="r",
        input_messages=json.dumps(from_chat(asked)),
        output_messages=json.dumps([from_chat_message(answer)]),
    )
    assert example(row).messages == [*asked, answer]


@given(replies.chats())
def test_every_chat_that_the_recorder_understands_is_read(reply: dict[str, Any]) -> None:
    made = assemble(recorded({"model": "m", "messages": [USER]}, reply), OPTIONS)
    if isinstance(made, Reason):
        assert made is Reason.NOT_A_CONVERSATION
        assert "audio" in json.dumps(reply)
    else:
        assert [message["role"] for message in made.messages] == ["user", "assistant"]
        first = reply["choices"][0]["message"] if reply["choices"] else {}
        assert made.messages[-1]["content"] == first.get("content")
        assert made.messages[-1].get("tool_calls", []) == (first.get("tool_calls") or [])


@given(replies.responses())
def test_every_response_that_the_recorder_understands_is_read(reply: dict[str, Any]) -> None:
    made = assemble(recorded({"model": "m", "input": "Weigh."}, reply, "responses"), OPTIONS)
    assert made is not Reason.UNREADABLE
    if isinstance(made, Example):
        texts = [
            part["text"]
            for item in reply["output"]
            if item["type"] == "message"
            for part in item["content"]
            if part["type"] == "output_text"
        ]
        content = made.messages[-1]["content"]
        found = [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
        assert [text for text in found if text is not None] == texts


def test_a_chat_with_tools() -> None:
    asked = [SYSTEM, USER, said(None, tool_calls=[CALL]), RESULT]
    request = {"model": "m", "messages": asked, "tools": [TOOL], "parallel_tool_calls": False}
    request |= {"response_format": {"type": "json_object"}}
    made = example(recorded(request, replies.chat()))
    assert made.messages == [*asked, said(replies.SENTENCE)]
    assert made.tools == [TOOL]
    assert made.parallel_tool_calls is False
    assert made.response_format == {"type": "json_object"}
    assert (made.tokens, made.tokens_estimated, made.output_tokens) == (21, False, 12)
    assert made.model == "gpt-x-2026-01-01"


def test_a_stream_is_the_answer_that_it_told() -> None:
    deltas = [
        {"role": "assistant", "content": None},
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weigh", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"kilograms"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 12}"}}]},
    ]
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    made = example(recorded({"model": "m", "messages": [USER], "tools": [TOOL], "stream": True}, streamed(*chunks)))
    assert made.messages == [USER, said(None, tool_calls=[CALL])]


def test_of_several_choices_the_first_is_taken() -> None:
    choices = [replies.choice(number, message=replies.message(f"answer {number}")) for number in range(3)]
    assert example(recorded({"messages": [USER], "n": 3}, replies.chat(*choices))).messages == [USER, said("answer 0")]


def test_a_refusal_is_the_answer() -> None:
    choice = replies.choice(message=replies.message(None, refusal="I will not."))
    assert example(recorded({"messages": [USER]}, replies.chat(choice))).messages[-1] == said(
        None, refusal="I will not."
    )


@pytest.mark.parametrize(
    "empty", [{"tool_calls": None}, {"tool_calls": []}, {"refusal": None}, {"function_call": None}]
)
def test_fields_that_say_nothing_are_left_out(empty: dict[str, Any]) -> None:
    reply = replies.chat(replies.choice(message={**said("12 kg"), **empty}))
    assert example(recorded({"messages": [USER, said("x", **empty), USER]}, reply)).messages == [
        *(USER, said("x")),
        *(USER, said("12 kg")),
    ]


def test_reasoning_is_left_out() -> None:
    thinking = {"role": "assistant", "content": "12", "reasoning_content": "Let me see."}
    made = example(recorded({"messages": [USER, thinking, USER]}, replies.chat(replies.choice(message=thinking))))
    assert made.messages == [USER, said("12"), USER, said("12")]


RESPONSE_INPUT = [
    {"role": "user", "content": [{"type": "input_text", "text": "Weigh the gate."}]},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "function_call", "call_id": "call_1", "name": "weigh", "arguments": '{"kilograms": 12}', "id": "fc_1"},
    {"type": "function_call_output", "call_id": "call_1", "output": "12 kg"},
]


def test_a_response_is_what_chat_would_have_been() -> None:
    request = {
        "model": "m",
        "instructions": "Be brief.",
        "input": RESPONSE_INPUT,
        "tools": [{"type": "function", "name": "weigh", "parameters": {"type": "object"}}],
        "text": {"format": {"type": "json_schema", "name": "w", "schema": {"type": "object"}, "strict": True}},
    }
    reply = replies.response(replies.reasoning("Hm."), replies.output_message(replies.output_text()))
    made = example(recorded(request, reply, "responses"))
    assert made.messages == [SYSTEM, USER, said(None, tool_calls=[CALL]), RESULT, said(replies.SENTENCE)]
    assert made.tools == [TOOL]
    schema = {"name": "w", "schema": {"type": "object"}, "strict": True}
    assert made.response_format == {"type": "json_schema", "json_schema": schema}
    assert made.tokens == 21


def test_a_response_with_a_call() -> None:
    made = example(recorded({"input": "Weigh the gate."}, replies.response(replies.function_call()), "responses"))
    assert made.messages[0] == USER
    [call] = made.messages[1]["tool_calls"]
    assert call["function"] == CALL["function"]


def test_pictures_of_a_response_are_those_of_chat() -> None:
    content = [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": PIXEL, "detail": "low"}]
    reply = replies.response(replies.output_message(replies.output_text()))
    made = example(recorded({"input": [{"role": "user", "content": content}]}, reply, "responses"))
    picture = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
    assert made.messages[0]["content"] == [{"type": "text", "text": "See"}, picture]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "1+1", "status": "completed"},
        {"type": "mcp_call", "id": "mcp_1", "name": "x", "arguments": "{}"},
    ],
)
def test_what_ran_at_the_provider_is_no_conversation_to_learn(item: dict[str, Any]) -> None:
    reply = replies.response(item, replies.output_message(replies.output_text()))
    assert assemble(recorded({"input": "x"}, reply, "responses"), OPTIONS) is Reason.NOT_A_CONVERSATION
    in_the_past = recorded({"input": [item, *RESPONSE_INPUT]}, replies.response(), "responses")
    assert assemble(in_the_past, OPTIONS) is Reason.NOT_A_CONVERSATION


def test_tools_of_the_provider_are_none_to_learn() -> None:
    reply = replies.response(replies.output_message(replies.output_text()))
    row = recorded({"input": "x", "tools": [{"type": "web_search"}]}, reply, "responses")
    assert assemble(row, OPTIONS) is Reason.NOT_A_CONVERSATION


def test_a_legacy_completion_is_a_turn_of_each() -> None:
    row = recorded({"prompt": "Once upon"}, replies.completion(" a time"), "completions")
    assert example(row).messages == [{"role": "user", "content": "Once upon"}, said(" a time")]


def test_tokens_instead_of_text_are_no_conversation() -> None:
    row = recorded({"prompt": [15, 16]}, replies.completion(" a time"), "completions")
    assert assemble(row, OPTIONS) is Reason.NOT_A_CONVERSATION


def test_several_prompts_at_once_are_no_conversation() -> None:
    row = recorded({"prompt": ["Once", "Twice"]}, replies.completion(" a", " b"), "completions")
    assert assemble(row, OPTIONS) is Reason.NOT_A_CONVERSATION


@pytest.mark.parametrize("where", ["asked", "answered"])
def test_audio_is_no_conversation(where: str) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    spoken = replies.message(None, audio={"id": "a1", "data": "AAAA", "transcript": "12", "expires_at": 1})
    asked = {"role": "user", "content": [sound]} if where == "asked" else USER
    answered = spoken if where == "answered" else replies.message()
    row = recorded({"messages": [asked]}, replies.chat(replies.choice(message=answered)))
    assert assemble(row, OPTIONS) is Reason.NOT_A_CONVERSATION


@pytest.mark.parametrize("endpoint", ["embeddings", "moderations"])
def test_other_endpoints_are_no_conversation(endpoint: str) -> None:
    assert assemble(recorded({"input": "x"}, {"data": []}, endpoint), OPTIONS) is Reason.NOT_A_CONVERSATION


def test_without_content_there_is_nothing() -> None:
    row = recorded({"messages": [USER]}, replies.chat(), content="off")
    assert assemble(row, OPTIONS) is Reason.NO_CONTENT


@pytest.mark.parametrize("column", ["input_messages", "output_messages", "system_instructions", "tool_definitions"])
@pytest.mark.parametrize(
    "damaged", ["[{", "7", '"x"', "[1]", '[{"parts": 1}]', '[{"role": 1, "parts": [{"type": []}]}]']
)
def test_what_is_damaged_is_unreadable_and_never_an_exception(column: str, damaged: str) -> None:
    row = recorded({"messages": [USER], "tools": [TOOL]}, replies.chat())
    setattr(row, column, damaged)
    made = assemble(row, OPTIONS)
    assert made is Reason.UNREADABLE or (column != "input_messages" and made is Reason.NOT_A_CONVERSATION)


def test_an_answer_that_never_came_is_an_empty_one() -> None:
    assert example(recorded({"messages": [USER]}, {})).messages == [USER, said(None)]


CORRECTIONS: list[tuple[Any, Message]] = [
    ("Exactly 12 kg.", said("Exactly 12 kg.")),
    ([said("Exactly 12 kg.")], said("Exactly 12 kg.")),
    (said("Exactly 12 kg."), said("Exactly 12 kg.")),
    ({"content": "Exactly 12 kg."}, said("Exactly 12 kg.")),
    ([USER, said("no"), USER, said(None, tool_calls=[CALL])], said(None, tool_calls=[CALL])),
    ([from_chat_message(said("Exactly 12 kg."))], said("Exactly 12 kg.")),
]


@pytest.mark.parametrize(("correction", "answer"), CORRECTIONS)
def test_a_correction_is_the_answer(correction: Any, answer: Message) -> None:
    row = recorded({"messages": [USER]}, replies.chat(), correction=json.dumps(correction))
    given = said(replies.SENTENCE)
    made = example(row)
    assert (made.messages, made.rejected) == ([USER, answer], [given])
    assert made.tokens_estimated
    replaced = example(row, Options(name="x", select=Select(corrections="replace")))
    assert (replaced.messages, replaced.rejected) == ([USER, answer], [])
    ignored = example(row, Options(name="x", select=Select(corrections="ignore")))
    assert (ignored.messages, ignored.rejected) == ([USER, given], [])
    assert (ignored.tokens, ignored.tokens_estimated) == (21, False)


def test_a_correction_that_is_bare_text_counts_too() -> None:
    row = recorded({"messages": [USER]}, replies.chat(), correction="Exactly 12 kg.")
    assert example(row).messages[-1] == said("Exactly 12 kg.")


@pytest.mark.parametrize("correction", ['""', '"  "', "[]", "null", "7", "[7]", '[{"role": "user", "content": "x"}]'])
def test_a_correction_that_says_nothing_changes_nothing(correction: str) -> None:
    row = recorded({"messages": [USER]}, replies.chat(), correction=correction)
    assert (example(row).messages, example(row).rejected) == ([USER, said(replies.SENTENCE)], [])
    assert example(row).tokens == 21


def test_a_picture_over_the_limit_is_a_note() -> None:
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    elsewhere = {"type": "image_url", "image_url": {"url": "https://a.example/" + "x" * 400}}
    row = recorded({"messages": [{"role": "user", "content": [picture, elsewhere]}]}, replies.chat())
    kept = example(row, Options(name="x", clean=Clean(image_bytes_max=300)))
    assert kept.messages[0]["content"] == [picture, elsewhere]
    noted = example(row, Options(name="x", clean=Clean(image_bytes_max=299)))
    assert noted.messages[0]["content"] == [{"type": "text", "text": "[image]"}, elsewhere]


def test_tokens_that_nobody_counted_are_estimated() -> None:
    reply = replies.chat()
    del reply["usage"]
    made = example(recorded({"messages": [{"role": "user", "content": "gate " * 100}]}, reply))
    assert made.tokens_estimated
    assert 120 < made.tokens < 200
