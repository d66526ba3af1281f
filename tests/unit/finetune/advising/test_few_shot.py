"""Which examples a prompt gets, and what is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from finetune.advising import few_shot, labels
from finetune.advising.few_shot import FewShot, choose, nearest, representative, similarities
from finetune.advising.rows import read
from finetune.dataset import Dataset
from finetune.errors import FinetuneError
from tests.unit.finetune.advising.talks import by_words, different, write


def no_model(texts: list[str]) -> None:
    return None


def chosen(folder: Path, **options: Any) -> FewShot:
    dataset = Dataset.open(folder)
    rows = read(dataset)
    return choose(dataset, rows, labels.find(rows.sample), by_words, no_model, model="none", **options)


def alike(*vectors: tuple[float, ...]) -> npt.NDArray[np.float64]:
    rows = np.asarray(vectors, dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_the_middle_of_each_group_stands_for_it() -> None:
    groups = alike((1, 0.2, 0), (1, 0, 0), (1, -0.2, 0), (0, 0.2, 1), (0, 0, 1), (0, -0.2, 1), (0, -0.3, 1))
    assert representative(groups, [""] * 7, [1] * 7, 2, 100) == [5, 1]


def test_a_copy_of_what_is_chosen_adds_nothing() -> None:
    same = alike((1, 0), (1, 0), (1, 0), (0, 1))
    assert representative(same, [""] * 4, [1] * 4, 4, 100) == [0, 3]


def test_every_class_has_one_before_any_has_two() -> None:
    near = alike((1, 0, 0), (1, 0.1, 0), (1, 0.2, 0), (1, 0.3, 0), (1, 0, 0.01))
    classes = ["a", "a", "a", "a", "b"]
    assert {classes[place] for place in representative(near, classes, [1] * 5, 2, 100)} == {"a", "b"}


def test_what_does_not_fit_is_passed_over() -> None:
    apart = alike((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert representative(apart, [""] * 3, [60, 50, 40], 3, 100) == [0, 2]
    assert representative(apart, [""] * 3, [60, 50, 40], 3, 30) == []


def test_for_a_question_what_is_near_comes_first_and_a_copy_of_it_does_not_come_second() -> None:
    to_question = np.asarray([0.9, 0.89, 0.6, 0.1])
    pool = np.asarray([[1, 0.99, 0.1, 0], [0.99, 1, 0.1, 0], [0.1, 0.1, 1, 0], [0, 0, 0, 1.0]])
    assert nearest(to_question, pool, [1] * 4, 2, 100) == [0, 2]
    assert nearest(to_question, pool, [90, 10, 10, 10], 3, 30) == [1, 2, 3]


def test_texts_are_compared_by_words_where_there_is_no_model() -> None:
    assert similarities(["a b", "a b"], no_model, "m")[1] == few_shot.WORDS_ALIKE
    found, by = similarities(["a", "b"], lambda texts: np.eye(2, dtype=np.float32), "m")
    assert (found.tolist(), by) == ([[1, 0], [0, 1]], "m")


def test_a_prompt_is_a_system_message_and_the_turns_of_examples(tmp_path: Path) -> None:
    talks = [("Be brief.", question, answer) for _, question, answer in different(6)]
    found = chosen(write(tmp_path / "a", talks), examples=2)
    assert [message["role"] for message in found.messages] == ["system", *["user", "assistant"] * 2]
    assert found.messages[0]["content"] == "Be brief."
    one = talks[found.lines[0] - 1]
    assert [message["content"] for message in found.messages[1:3]] == [one[1], one[2]]
    # Of an example: 6 words asked and more, 3 for each of 3 messages; instructions are there once.
    assert found.tokens == sum(len(f"{talks[line - 1][1]} {talks[line - 1][2]}".split()) + 9 for line in found.lines)


def test_instructions_are_the_most_frequent_or_say_what_examples_are(tmp_path: Path) -> None:
    talks = [("Odd.", "q one", "a"), ("Usual.", "q two", "b"), ("Usual.", "q three", "c")]
    assert chosen(write(tmp_path / "a", talks)).messages[0]["content"] == "Usual."
    assert chosen(write(tmp_path / "b", different(2))).messages[0]["content"] == "Answer as in these examples."


def test_nothing_of_validation_and_test_is_in_a_prompt(tmp_path: Path) -> None:
    talks = different(6)
    found = chosen(write(tmp_path / "a", talks, talks[:2], [("", talks[2][1].upper(), "other")]))
    assert sorted(found.lines) == [4, 5, 6]


def test_classes_are_covered_and_counted(tmp_path: Path) -> None:
    talks = [("", f"message {place} of {'ab'[place % 2]}", ["x", "y", "z"][place % 3]) for place in range(30)]
    assert chosen(write(tmp_path / "a", talks), examples=3).labels == {"x": 1, "y": 1, "z": 1}
    found = chosen(write(tmp_path / "b", talks), examples=2)
    assert (len(found.labels), found.labels_missing) == (2, 1)


def test_turns_and_tools_of_an_example_stay_together_and_weights_go(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
        {"role": "tool", "tool_call_id": "1", "content": "Oslo"},
        {"role": "assistant", "content": "In Oslo", "weight": 1},
    ]
    found = chosen(write(tmp_path / "a", [{"messages": [{"role": "developer", "content": "Be."}, *turns]}]))
    assert found.messages[0] == {"role": "system", "content": "Be."}
    assert found.messages[1:] == [{key: one[key] for key in one if key != "weight"} for one in turns]


def test_answers_that_call_a_tool_and_images_are_left_out(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    picture = {"type": "image_url", "image_url": {"url": "data:..."}}
    odd = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}]},
        {"messages": [{"role": "user", "content": [picture]}, {"role": "assistant", "content": "a cat"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]},
    ]
    assert chosen(write(tmp_path / "a", [*odd, *different(1)])).lines == [4]
    with pytest.raises(FinetuneError, match="has no example for a prompt"):
        chosen(write(tmp_path / "b", odd))


def test_examples_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match=r"fits into 5 tokens: the shortest has [0-9]+"):
        chosen(write(tmp_path / "a", different(3)), tokens_max=5)


def test_examples_for_one_question(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [*different(9), ("", "How late is the train to Oslo?", "Seven")])
    assert chosen(folder, examples=1, question="Is the train late?").lines == [10]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    found = chosen(write(tmp_path / "a", different(3)))
    path = tmp_path / "prompt.json"
    path.write_text("before")
    few_shot.write(found, path)
    assert json.loads(path.read_text()) == {"messages": found.messages}
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    for nowhere in (tmp_path / "nowhere" / "prompt.json", tmp_path, Path()):
        with pytest.raises(FinetuneError, match="cannot be written"):
            few_shot.write(found, nowhere)
    assert [*tmp_path.parent.glob(f".*.{os.getpid()}"), *Path().glob(f".*.{os.getpid()}")] == []
