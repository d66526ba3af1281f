"""The short way to chat messages gives what the long way gives, in the same order of fields, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exporters.datasets.assembling.ordinary import ordinary
from exporters.messages import from_chat, to_openai

CALL = {"id": "call_1", "type": "function", "function": {"name": "weigh", "arguments": '{"kilograms": 12}'}}
OTHER = {"id": "call_2", "type": "function", "function": {"name": "lift", "arguments": ""}}
ASKED = {"role": "user", "content": "Weigh the gate."}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "12 kg"}


def said(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "developer", "content": ""}, ASKED, said("It is heavy.")],
        [ASKED, said(None, tool_calls=[CALL]), RESULT],
        [ASKED, said(None, tool_calls=[CALL, OTHER]), RESULT, {**RESULT, "tool_call_id": "call_2"}, said("So.")],
        [said("I look.", tool_calls=[CALL]), RESULT],
        [{"role": "assistant", "tool_calls": [CALL]}],
        [said("Heavy.", refusal=None, annotations=[]), said(None, tool_calls=[CALL], refusal=None, annotations=[])],
    ],
)
def test_ordinary_messages_are_what_the_long_way_makes_of_them(messages: list[dict[str, Any]]) -> None:
    recorded = from_chat(messages)
    wanted = [
        {"content": None} | message if "content" not in message else message  # never without, in a dataset
        for message in to_openai(recorded)
    ]
    for message in wanted:
        for name in ("refusal", "annotations"):
            message.pop(name, None)
        if message["content"] is None:
            message["content"] = message.pop("content")
    found = ordinary(json.dumps(recorded))
    assert found is not None
    assert [[*message.items()] for message in found] == [[*message.items()] for message in wanted]


@pytest.mark.parametrize(
    "message",
    [
        said([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]),
        said([{"type": "text", "text": "One."}]),
        said(None, refusal="No."),
        said("Done.", refusal=False),
        said("Done.", name="ann"),
        said("Done.", reasoning_content="Hm."),
        said("Done.", function_call={"name": "f", "arguments": "{}"}),
        said(None),
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "12 kg"}]},
        {"role": "tool", "content": "12 kg"},
        said(None, tool_calls=[{**CALL, "index": 0}]),
        said(None, tool_calls=[{"id": "call_3", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]),
    ],
)
def test_others_are_left_to_it(message: dict[str, Any]) -> None:
    recorded = json.dumps(from_chat([ASKED, message]))
    assert ordinary(recorded) is None


def test_what_is_read_is_what_was_asked_for() -> None:
    recorded = json.dumps([*from_chat([said("One.")]), *from_chat([said("Two.")])])
    assert ordinary(recorded, 1) == [said("One.")]
    with pytest.raises(ValueError, match="truncated"):
        ordinary(recorded[:-3])
