"""The rules that a training file is held to before it is sent, each by the line that breaks it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import FinetuneError
from finetune.hosting.checking import PER_MESSAGE, check
from finetune.run import Objective

ASKED: dict[str, Any] = {"role": "user", "content": "Where is it?"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "On its way."}
OTHER: dict[str, Any] = {"role": "assistant", "content": "I do not know."}
GOOD: dict[str, Any] = {"messages": [ASKED, ANSWER]}
PAIR: dict[str, Any] = {"input": {"messages": [ASKED]}, "preferred_output": [ANSWER], "non_preferred_output": [OTHER]}


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def words(text: str) -> int:
    return len(text.split())


def test_what_may_be_sent_is_counted(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look"}}]}
    long = {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be kind ."}]}, ASKED, call]}
    path = write(tmp_path / "train.jsonl", [GOOD] * 9 + [long | {"tools": tools}])
    found = check(path, "sft", words)
    assert (found.examples, found.bytes, found.path) == (10, path.stat().st_size, str(path))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.tokens == 9 * (3 + 3 + 2 * PER_MESSAGE) + found.tokens_max
    assert found.tokens_max == 3 + 3 + 1 + 1 + 3 * PER_MESSAGE, "the call and the tools are a word each without blanks"


def test_preferences_count_both_answers(tmp_path: Path) -> None:
    found = check(write(tmp_path / "preferences.train.jsonl", [PAIR] * 10), "dpo", words)
    assert found.tokens == 10 * (3 + 3 + 4 + 3 * PER_MESSAGE)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "it is not JSON"),
        ("", "it is not JSON"),
        ([1], "it is not an object"),
        (PAIR, "it has no messages; --dpo trains on preferences"),
        ({"messages": []}, "messages is not a list of messages"),
        ({"messages": [ASKED]}, "the last message is not the assistant's"),
        ({"messages": [{"role": "robot", "content": "x"}, ANSWER]}, "messages[0] has no role"),
        ({"messages": [{"role": ["user"]}, ANSWER]}, "messages[0] has no role"),
        ({"messages": [ASKED, {"role": "assistant"}]}, "messages[1] has no content"),
        ({"messages": [{"role": "user", "content": 1}, ANSWER]}, "messages[0].content is neither"),
        ({"messages": [ASKED, ANSWER | {"weight": 2}]}, "messages[1].weight is neither 0 nor 1"),
        ({"messages": [ASKED, ANSWER | {"weight": True}]}, "messages[1].weight is neither 0 nor 1"),
        ({"messages": [ASKED | {"weight": 1}, ANSWER]}, "messages[0] has a weight"),
        ({"messages": [ASKED, ANSWER | {"weight": 0}]}, "all answers have weight 0"),
        (GOOD | {"tools": {}}, "tools is not a list"),
        (GOOD | {"tools": [{"type": "function"}]}, "a tool is no function"),
    ],
)
def test_a_conversation_that_breaks_a_rule(tmp_path: Path, line: Any, says: str) -> None:
    _breaks(tmp_path, "sft", GOOD, line, says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (GOOD, "it has no input; without --dpo"),
        (PAIR | {"input": {"messages": [ASKED, ANSWER]}}, "input.messages ends with an answer"),
        (PAIR | {"preferred_output": [ANSWER, OTHER]}, "preferred_output is not one message"),
        (PAIR | {"preferred_output": [ASKED]}, "preferred_output is not one message"),
        (PAIR | {"non_preferred_output": "no"}, "non_preferred_output is not a list of messages"),
        (PAIR | {"non_preferred_output": [ANSWER]}, "both outputs are the same"),
    ],
)
def test_a_preference_that_breaks_a_rule(tmp_path: Path, line: Any, says: str) -> None:
    _breaks(tmp_path, "dpo", PAIR, line, says)


def _breaks(folder: Path, objective: Objective, good: Any, line: Any, says: str) -> None:
    path = write(folder / "train.jsonl", [good] * 3 + [line] + [good] * 8)
    with pytest.raises(FinetuneError) as caught:
        check(path, objective, words)
    assert str(caught.value).startswith(f"{path}:4: {says}")
    assert str(caught.value).endswith(f"penstock dataset validate {path}")
    write(path, [good] * 11)
    assert check(path, objective, words).examples == 11


def test_too_few_examples(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [GOOD] * 9)
    with pytest.raises(FinetuneError, match="it has 9 examples, and 10 are the least"):
        check(path, "sft", words)
    assert check(path, "sft", words, examples_min=1).examples == 9


def test_an_example_that_is_too_long(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [GOOD] * 10)
    with pytest.raises(FinetuneError, match=r"train.jsonl:1: it has about 12 tokens, and 11 are the most"):
        check(path, "sft", words, tokens_max=11)
    assert check(path, "sft", words, tokens_max=None).tokens_max == 12


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="cannot be read"):
        check(tmp_path / "train.jsonl", "sft", words)
