"""The last turn, apart from the rest; and what of a question the semantic tier compares exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cache.key import Question
from cache.turn import TEXT_CHARS_MAX

SYSTEM = {"role": "system", "content": "Be brief."}


def semantic(endpoint: str, **document: Any) -> tuple[str, str] | None:
    question = Question.read(endpoint, json.dumps({"model": "m", **document}).encode())
    assert question is not None
    return question.semantic()


def chat(text: Any, **more: Any) -> tuple[str, str] | None:
    return semantic("chat", messages=[SYSTEM, {"role": "user", "content": text}], **more)


@pytest.mark.parametrize(
    ("endpoint", "document"),
    [
        ("chat", {"messages": [SYSTEM, {"role": "user", "content": " Why? "}]}),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]}),
        ("completions", {"prompt": "Why?"}),
        ("responses", {"input": "Why?"}),
        ("responses", {"input": [{"role": "user", "content": "Why?"}]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?\n"}]}]}),
    ],
)
def test_the_text_of_the_last_turn_is_found(endpoint: str, document: dict[str, Any]) -> None:
    found = semantic(endpoint, **document)
    assert found is not None
    assert found[1] == "Why?"


def test_several_parts_are_one_text() -> None:
    found = chat([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    assert found is not None
    assert found[1] == "a\nb"


@pytest.mark.parametrize(
    ("endpoint", "document"),
    [
        ("embeddings", {"input": "Why?"}),
        ("moderations", {"input": "Why?"}),
        ("chat", {}),
        ("chat", {"messages": []}),
        ("chat", {"messages": ["Why?"]}),
        ("chat", {"messages": [{"role": "user", "content": " \n"}]}),
        ("chat", {"messages": [{"role": "user", "content": None}]}),
        ("chat", {"messages": [{"role": "user", "content": "Why?"}, {"role": "tool", "content": "4"}]}),
        ("chat", {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Be"}]}),
        ("chat", {"messages": [{"role": "user", "content": "x" * (TEXT_CHARS_MAX + 1)}]}),
        (
            "chat",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Why?"},
                            {"type": "image_url", "image_url": {"url": "data:"}},
                        ],
                    }
                ]
            },
        ),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]}),
        ("completions", {"prompt": ["a", "b"]}),
        ("completions", {"prompt": [1, 2]}),
        ("responses", {"input": [{"type": "function_call_output", "output": "4"}]}),
        ("responses", {}),
    ],
)
def test_there_is_none_where_likeness_says_nothing(endpoint: str, document: dict[str, Any]) -> None:
    assert semantic(endpoint, **document) is None


def test_only_the_last_turn_may_differ() -> None:
    base = chat("Why?", temperature=0.5, tools=[{"type": "function"}])
    assert base is not None
    same = [
        chat("How come?", temperature=0.5, tools=[{"type": "function"}]),
        chat([{"type": "text", "text": "Why?"}], temperature=0.5, tools=[{"type": "function"}], stream=True, user="u"),
    ]
    assert {found[0] for found in same if found is not None} == {base[0]}
    others = [
        chat("Why?", temperature=0.6, tools=[{"type": "function"}]),
        chat("Why?", temperature=0.5, tools=[{"type": "custom"}]),
        chat("Why?", temperature=0.5),
        chat("Why?", temperature=0.5, tools=[{"type": "function"}], model="n"),
        semantic("chat", messages=[{"role": "user", "content": "Why?"}], temperature=0.5, tools=[{"type": "function"}]),
        semantic(
            "chat",
            messages=[SYSTEM, {"role": "user", "content": "Why?", "name": "Ann"}],
            temperature=0.5,
            tools=[{"type": "function"}],
        ),
    ]
    assert base[0] not in {found[0] for found in others if found is not None}
    assert len({found[0] for found in others if found is not None}) == len(others)


def test_the_endpoint_and_the_instructions_must_be_equal() -> None:
    found = [
        semantic("responses", input="Why?"),
        semantic("responses", input="Why?", instructions="Be brief."),
        semantic("completions", prompt="Why?"),
    ]
    assert len({one[0] for one in found if one is not None}) == 3


def test_splitting_leaves_the_question_as_it_was() -> None:
    question = Question.read("chat", b'{"messages":[{"role":"user","content":"Why?"}]}')
    assert question is not None
    before = question.key(scope="", upstream="", provider="")
    question.semantic()
    assert question.document["messages"][0]["content"] == "Why?"
    assert question.key(scope="", upstream="", provider="") == before
