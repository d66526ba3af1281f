"""What is read of a dataset, and what is said of one that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.advising.rows import CHARACTERS_MAX, conversations, digest, read, row_of, sampled, text_of
from finetune.dataset import Conversation, Dataset
from finetune.errors import FinetuneError
from tests.unit.finetune.advising.talks import different, row, write


def test_examples_are_counted_by_split_and_train_is_kept(tmp_path: Path) -> None:
    talks = different(8)
    found = read(Dataset.open(write(tmp_path / "a", talks[:5], talks[5:7], talks[7:], pairs=3)))
    assert found.examples == {"train": 5, "validation": 2, "test": 1}
    assert found.preferences == {"train": 3, "validation": 0, "test": 0}
    assert [one.line for one in found.sample] == [1, 2, 3, 4, 5]
    assert found.held_out == {digest(question) for _, question, _ in talks[5:]}


def test_a_prompt_is_all_before_the_answer() -> None:
    call = {"function": {"name": "find", "arguments": '{"id": 7}'}, "id": "1", "type": "function"}
    conversation = Conversation(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "In Oslo"},
            {"role": "user", "content": "So?"},
            {"role": "assistant", "content": "Oslo."},
        ],
        tools=[{"type": "function"}],
    )
    found = row_of(conversation, 3)
    assert found is not None
    assert (found.instructions, found.asked, found.answer) == (
        "Be brief.",
        'Where?\nfind {"id": 7}\nIn Oslo\nSo?',
        "Oslo.",
    )
    assert (found.turns, found.messages, found.calls_tools, found.only_text) == (2, 6, False, True)
    assert found.tools == '[{"type":"function"}]'


def test_an_image_is_no_text() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:..."}}
    message = {"role": "user", "content": [picture, {"type": "text", "text": "What?"}]}
    found = row_of(Conversation(messages=[message, {"role": "assistant", "content": "A cat"}]), 1)
    assert found is not None
    assert (found.asked, found.only_text) == ("What?", False)


@pytest.mark.parametrize(
    "message", [{}, {"role": 7}, {"content": 7}, {"content": [7]}, {"tool_calls": [7]}, {"tool_calls": 7}]
)
def test_odd_messages_say_nothing(message: dict[str, object]) -> None:
    assert text_of(message) == ""


def test_long_texts_are_cut_and_their_length_is_kept() -> None:
    found = row("x" * (CHARACTERS_MAX + 5), "y")
    assert (len(found.asked), found.characters[1]) == (CHARACTERS_MAX, CHARACTERS_MAX + 5)


def test_of_many_rows_a_sample_is_kept_that_is_always_the_same() -> None:
    many = [row("a", "b", line=line) for line in range(1, 1001)]
    kept, count = sampled(iter(many), 100)
    assert count == 1000
    assert len({one.line for one in kept}) == 100
    assert kept == sampled(iter(many), 100)[0] == sorted(kept, key=lambda one: one.line)
    # Each has the same chance: the mean of 100 of 1..1000 has a standard error of 27.
    assert abs(sum(one.line for one in kept) / 100 - 500) < 110


def test_lines_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    talks = different(5)
    dataset = Dataset.open(write(tmp_path / "a", talks))
    assert [one.messages[-1]["content"] for one in conversations(dataset, [4, 2])] == [talks[3][2], talks[1][2]]


def refused(folder: Path) -> str:
    with pytest.raises(FinetuneError) as caught:
        read(Dataset.open(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_train_split(tmp_path: Path) -> None:
    assert "has no examples in train" in refused(write(tmp_path / "a", [], different(2)))


def test_an_empty_train_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [])
    (folder / "train.jsonl").touch()
    assert "has no examples in train" in refused(folder)


def test_preferences_alone(tmp_path: Path) -> None:
    assert "12 preference pairs and no examples" in refused(write(tmp_path / "a", [], pairs=12))


def test_a_line_that_is_no_example(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [])
    (folder / "train.jsonl").write_text('{"messages": 7}\n')
    assert "train.jsonl:1 is no example" in refused(folder)


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": "?"}]])
def test_a_line_without_an_answer(tmp_path: Path, messages: list[object]) -> None:
    said = refused(write(tmp_path / "a", [*different(1), {"messages": messages}]))
    assert "train.jsonl:2 does not end with an assistant's message" in said


def test_a_file_that_was_changed(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", different(3))
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "assistant", "content": "x"}]}\n')
    assert "was changed" in refused(folder)
