"""Scrubbing: no private value survives in any byte of an example, wherever in it, however escaped, beside whatever."""

from __future__ import annotations

import copy
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.example import Example, Message
from tests.unit.exporters.datasets.scrubbing.private_values import PRIVATE
from tests.unit.exporters.datasets.scrubbing.test_scrub import SCRUBBER, call, example


def written(told: Example) -> str:
    """All that may be written of it, in both spellings of JSON."""
    return json.dumps(msgspec.to_builtins(told)) + json.dumps(msgspec.to_builtins(told), ensure_ascii=False)


def part(text: str) -> Message:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


PLACES = {
    "system": lambda text: {"messages": [{"role": "system", "content": text}]},
    "user": lambda text: {"messages": [{"role": "user", "content": text}]},
    "answer": lambda text: {"messages": [{"role": "assistant", "content": text}]},
    "tool result": lambda text: {"messages": [{"role": "tool", "tool_call_id": "c", "content": text}]},
    "JSON as a tool result": lambda text: {
        "messages": [{"role": "tool", "tool_call_id": "c", "content": json.dumps([{"rows": [text, 1]}])}]
    },
    "part": lambda text: {"messages": [part(text)]},
    "part of a result": lambda text: {"messages": [{**part(text), "role": "tool", "tool_call_id": "c"}]},
    "name": lambda text: {"messages": [{"role": "user", "content": "hi", "name": text}]},
    "refusal": lambda text: {"messages": [{"role": "assistant", "content": None, "refusal": text}]},
    "arguments": lambda text: {"messages": [call(json.dumps({"a": {"b": [1, text]}}))]},
    "arguments in UTF-8": lambda text: {"messages": [call(json.dumps({"a": text}, ensure_ascii=False))]},
    "all escaped": lambda text: {"messages": [call('{"a": "' + escaped(text) + '"}')]},
    "JSON within arguments": lambda text: {"messages": [call(json.dumps({"a": json.dumps({"b": text})}))]},
    "JSON within JSON within": lambda text: {
        "messages": [call(json.dumps({"a": json.dumps([json.dumps({"b": text})])}))]
    },
    "JSON within prose": lambda text: {"messages": [{"role": "user", "content": "it said " + json.dumps({"b": text})}]},
    "JSON cut off": lambda text: {"messages": [call(json.dumps({"b": text, "c": 1})[:-4])]},
    "key of arguments": lambda text: {"messages": [call(json.dumps({text: 1}))]},
    "call id": lambda text: {"messages": [{"role": "tool", "tool_call_id": text, "content": "x"}]},
    "custom input": lambda text: {
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "s", "input": text}}]}
        ]
    },
    "tool": lambda text: {"tools": [{"type": "function", "function": {"name": "f", "description": text}}]},
    "default of a tool": lambda text: {
        "tools": [{"type": "function", "function": {"parameters": {"properties": {"a": {"default": [text]}}}}}]
    },
    "rejected": lambda text: {"rejected": [{"role": "assistant", "content": text}]},
    "rejected call": lambda text: {"rejected": [call(json.dumps([text]))]},
    "response format": lambda text: {"response_format": {"json_schema": {"schema": {"description": text}}}},
    "tag": lambda text: {"tags": {"note": text}},
    "name of a tag": lambda text: {"tags": {text: "note"}},
    "label": lambda text: {"label": text},
    "image": lambda text: {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"https://x.org/?q={text}"}}]}]
    },
}  # fmt: skip


def survives(value: str, told: Example) -> bool:
    text = written(told)
    return any(form in text for form in (value, json.dumps(value)[1:-1], json.dumps(json.dumps(value))[3:-3]))


@pytest.mark.parametrize("place", PLACES)
def test_nothing_survives_in_any_place(place: str) -> None:
    for kind, value, sentence in PRIVATE:
        told = example("Hello", **PLACES[place](sentence.format(value)))
        assert kind in SCRUBBER.scrub(told), (place, value)
        assert not survives(value, told), (place, value)


around = st.text(st.sampled_from(" \n\t.,;:!?()<>\"'`*ü。“”—🙂\u00a0\u200b"), max_size=3)
prose = st.lists(
    st.sampled_from(
        ["", "call me", "schön!", "see\n\n- item", "```\ncode\n```", "42 %", "你好", "2026-03-12", "17 4711 0815"]
    ),
    max_size=3,
)


@given(st.sampled_from(PRIVATE), st.sampled_from(sorted(PLACES)), prose, around, around, prose)
def test_nothing_survives_whatever_stands_around_it(
    private: tuple[str, str, str], place: str, before: list[str], left: str, right: str, after: list[str]
) -> None:
    kind, value, sentence = private
    if place == "image":
        left = right = ""
    text = (
        " ".join(before)
        + " " * bool(before)
        + left
        + sentence.format(value)
        + right
        + " " * bool(after)
        + " ".join(after)
    )
    told = example("Hello", **PLACES[place](text))
    assert kind in SCRUBBER.scrub(told)
    assert not survives(value, told)


@given(st.sampled_from(PRIVATE), st.sampled_from(sorted(PLACES)))
def test_scrubbing_again_finds_nothing(private: tuple[str, str, str], place: str) -> None:
    told = example("Hello", **PLACES[place](private[2].format(private[1])))
    SCRUBBER.scrub(told)
    once = copy.deepcopy(told)
    assert SCRUBBER.scrub(told) == {}
    assert told == once
