"""Whatever a line holds, it is a row; and what comes of it has the types that the steps after it count on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.assembling.assembly import assemble
from exporters.datasets.example import Example, Row
from exporters.datasets.reasons import Reason
from exporters.datasets.selecting.shapes import UNREADABLE
from tests.unit.exporters.datasets.selecting.test_shapes import (
    ANSWER,
    CALLED,
    OPTIONS,
    PAIRS,
    PLAIN,
    RESPONSE,
    RESULT,
    SYSTEM,
    TOOL,
    USER,
    row,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *("messages", "tools", "request", "response", "input", "output", "prompt", "completion", "chosen", "rejected"),
        *("preferred_output", "non_preferred_output", "conversations", "from", "value", "instruction", "history"),
        *("input_messages", "output_messages", "attributes", "llm", "message", "choices", "custom_id", "body", "role"),
        *(
            "content",
            "system",
            "created",
            "timestamp",
            "usage",
            "tool_calls",
            "type",
            "call_id",
            "tags",
            "id",
            "status",
        ),
    ]
)
NEARLY = st.recursive(
    JSON | st.sampled_from(["user", "assistant", "message", "function_call", "response"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(NEARLY)
def test_whatever_a_line_holds_it_is_a_row_and_no_exception(line: Any) -> None:
    made = assemble(row(line), OPTIONS)
    assert isinstance(made, Example | Reason)


WHOLE: list[dict[str, Any]] = [
    *PLAIN,
    *PAIRS,
    {"messages": [SYSTEM, USER, CALLED, RESULT, ANSWER], "tools": [TOOL], "response_format": {"type": "text"}},
    {
        "request": {
            "input": [{"type": "function_call", "call_id": "call_1", "name": "weigh", "arguments": "{}"}],
            "tools": [TOOL],
        },
        "response": RESPONSE,
    },
]
WRONG: list[Any] = [None, 7, -1, 10**30, 1.5, True, "x", "user", [], ["x"], [1], {}, {"a": 1}, {"type": "message"}]


def places(value: Any) -> Iterator[tuple[dict[Any, Any] | list[Any], Any]]:
    """Every place in it: a container, and a key or a number."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@pytest.mark.parametrize("line", WHOLE, ids=lambda line: ",".join(line))
def test_wherever_a_line_is_wrong_what_comes_of_it_has_the_right_types(line: dict[str, Any]) -> None:
    line = json.loads(json.dumps(line))
    for container, key in list(places(line)):
        right = container[key]
        for wrong in WRONG:
            container[key] = wrong
            made = assemble(row(line), OPTIONS)
            if isinstance(made, Example):
                msgspec.convert(msgspec.to_builtins(made), Example, strict=True)
                for message in (*made.messages, *made.rejected):
                    msgspec.convert(message, Typed, strict=True)
        container[key] = right


class Function(msgspec.Struct):
    name: str
    arguments: str


class Call(msgspec.Struct):
    function: Function
    id: str | None = None


class Typed(msgspec.Struct):
    """What the steps that follow take for granted."""

    role: str
    content: str | list[dict[str, Any]] | None
    name: str | None = None
    tool_calls: list[Call] = []
    tool_call_id: str | None = None
    refusal: str | None = None


@pytest.mark.parametrize("line", [None, 7, "text", [], {}, {"messages": []}, {"messages": {}}, {"else": 1}])
def test_a_line_that_is_none_of_these_is_unreadable(line: Any) -> None:
    assert row(line) == Row(request_id="file:1", input_messages=UNREADABLE)
    assert assemble(row(line), OPTIONS) is Reason.UNREADABLE
