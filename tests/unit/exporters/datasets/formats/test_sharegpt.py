"""ShareGPT's lines: by turns, as their readers demand, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.example import Example, Message
from exporters.datasets.formats.messages import written as said
from exporters.datasets.formats.sharegpt import ShareGPT
from exporters.datasets.formats.turns import CannotSay, turns_of
from exporters.datasets.options import Write

from .conversations import CLOCK, WEATHER, assistant, call, calling, chat, example, result, system, user, with_image
from .conversations import with_tools as tools


def written(folder: Path, *examples: Example, **options: Any) -> list[dict[str, Any]]:
    writer = ShareGPT(Write(**options), folder)
    for one in examples:
        writer.write("train", one)
    paths = writer.close()
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def test_a_chat(tmp_path: Path) -> None:
    [line] = written(tmp_path, chat())
    assert line == {
        "id": "chat-1",
        "conversations": [
            {"from": "human", "value": "What is 1 and 1?"},
            {"from": "gpt", "value": "2"},
            {"from": "human", "value": "Twice?"},
            {"from": "gpt", "value": "No."},
        ],
        "system": "You are terse.",
        "tools": "",
    }
    assert (tmp_path / "train.sharegpt.jsonl").exists()


def test_calls_and_their_results(tmp_path: Path) -> None:
    [line] = written(tmp_path, tools())
    asked, called, seen, answered = line["conversations"]
    assert asked == {"from": "human", "value": "Weather and time in Ulm?"}
    assert called["from"] == "function_call"
    assert json.loads(called["value"]) == [
        {"name": "weather", "arguments": {"town": "Ulm"}},
        {"name": "clock", "arguments": {}},
    ]
    assert seen["from"] == "observation"
    assert json.loads(seen["value"]) == ['{"sky": "grey"}', "12:00"]
    assert answered == {"from": "gpt", "value": "Grey, at noon."}
    assert json.loads(line["tools"]) == [WEATHER["function"], CLOCK["function"]]


def test_one_call_is_an_object_and_its_result_is_as_it_was(tmp_path: Path) -> None:
    made = example(user("Time?"), calling(call("c", "clock", "{}")), result("c", "12:00"), assistant("Noon."))
    [line] = written(tmp_path, made)
    assert json.loads(line["conversations"][1]["value"]) == {"name": "clock", "arguments": {}}
    assert line["conversations"][2]["value"] == "12:00"


def test_a_call_can_be_the_answer(tmp_path: Path) -> None:
    [line] = written(tmp_path, example(user("Time?"), calling(call("c", "clock", "{}"))))
    assert [turn["from"] for turn in line["conversations"]] == ["human", "function_call"]


def test_a_refusal_is_what_was_said(tmp_path: Path) -> None:
    refused = {"role": "assistant", "content": None, "refusal": "I will not."}
    [line] = written(tmp_path, example(user("Lie!"), refused))
    assert line["conversations"][1] == {"from": "gpt", "value": "I will not."}


def test_earlier_answers_are_marked_where_only_the_last_is_learnt(tmp_path: Path) -> None:
    [line] = written(tmp_path, chat(), mask="last")
    assert [turn.get("train") for turn in line["conversations"]] == [None, False, None, None]


def test_what_one_side_says_twice_is_joined(tmp_path: Path) -> None:
    made = example(
        system("A"), {"role": "developer", "content": "B"}, user("1"), user("2"), assistant("3"), assistant("4")
    )
    [line] = written(tmp_path, made, mask="last")
    assert line["system"] == "A\n\nB"
    assert line["conversations"] == [{"from": "human", "value": "1\n\n2"}, {"from": "gpt", "value": "3\n\n4"}]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (with_image(), "images or files"),
        (example(assistant("Hello!"), user("Hi"), assistant("Yes")), "a conversation that the user did not begin"),
        (example(system("A")), "a conversation that the user did not begin"),
        (example(result("c", "x"), assistant("Yes")), "a conversation that the user did not begin"),
        (example(user("Hi")), "a conversation that ends without an answer"),
        (
            example(user("Hi"), calling(call("c", "clock", "{}")), result("c", "1")),
            "a conversation that ends without an answer",
        ),
        (
            example(user("Hi"), assistant("Yes"), system("A"), user("So"), assistant("No")),
            "instructions in the middle of a conversation",
        ),
        (
            example(user("Time?"), calling(call("c", "clock", "{}")) | {"content": "Let me look."}),
            "words beside a call",
        ),
        (
            example(user("Time?"), assistant("One moment."), calling(call("c", "clock", "{}"))),
            "a turn after a call or its result that is not the other side's",
        ),
        (
            example(user("Time?"), calling(call("c", "clock", "{}")), result("c", "12"), user("Now!"), assistant("12")),
            "a turn after a call or its result that is not the other side's",
        ),
    ],
)
def test_what_it_cannot_say_is_left_out(tmp_path: Path, made: Example, why: str) -> None:
    lines = written(tmp_path, chat(1), made, chat(2))
    assert [line["id"] for line in lines] == ["chat-1", "chat-2"]
    with pytest.raises(CannotSay) as raised:
        turns_of(said(made, Write()))
    assert str(raised.value) == why


MESSAGES: st.SearchStrategy[list[Message]] = st.lists(
    st.sampled_from(
        [
            system("S"),
            user("U"),
            assistant("A"),
            calling(call("c", "clock", "{}")),
            result("c", "R"),
            {"role": "user", "content": ""},
        ]
    ),
    max_size=8,
)


@given(MESSAGES)
def test_turns_are_by_turns_and_nothing_is_lost(messages: list[Message]) -> None:
    try:
        turns = turns_of(messages)
    except CannotSay:
        return
    assert [turn.asks for turn in turns] == [True, False] * (len(turns) // 2)
    told = "".join(turn.text for turn in turns)
    for text in "UAR":
        assert told.count(text) == sum(message["content"] == text for message in messages)
    assert told.count("clock") == sum("tool_calls" in message for message in messages)
