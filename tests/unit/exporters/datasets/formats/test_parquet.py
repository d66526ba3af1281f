"""Parquet: read back by Arrow, the same bytes each time, in groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from exporters.datasets.example import Example
from exporters.datasets.formats import parquet
from exporters.datasets.options import Write

from .conversations import (
    CLOCK,
    WEATHER,
    assistant,
    call,
    calling,
    chat,
    corrected,
    example,
    user,
    with_image,
    with_tools,
)


def write(folder: Path, *examples: Example, **options: Any) -> list[str]:
    """The names of the files."""
    folder.mkdir(exist_ok=True)
    writer = parquet.Parquet(Write(**options), folder)
    for one in examples:
        writer.write("train", one)
    return [path.name for path in writer.close()]


def rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


def told(texts: list[str]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in texts]


def test_a_row_is_the_conversation_and_where_it_came_from(tmp_path: Path) -> None:
    made = chat(
        model="gpt-4.1",
        prompt_name="greet",
        prompt_version="3",
        tags={"app": "a"},
        label="good",
        score=0.5,
        tokens=17,
        response_format={"type": "json_object"},
    )
    write(tmp_path, made)
    [row] = rows(tmp_path / "train.parquet")
    assert told(row.pop("messages")) == made.messages
    assert row == {
        "tools": None,
        "request_id": "chat-1",
        "model": "gpt-4.1",
        "prompt_name": "greet",
        "prompt_version": "3",
        "tags": '{"app":"a"}',
        "label": "good",
        "score": 0.5,
        "tokens": 17,
        "split": "train",
        "response_format": '{"type":"json_object"}',
    }


def test_calls_are_as_chat_templates_want_them(tmp_path: Path) -> None:
    write(tmp_path, with_tools())
    [row] = rows(tmp_path / "train.parquet")
    _, called, first, second, _ = told(row["messages"])
    assert called["content"] == ""
    assert [one["function"] for one in called["tool_calls"]] == [
        {"name": "weather", "arguments": {"town": "Ulm"}},
        {"name": "clock", "arguments": {}},
    ]
    assert (first["name"], second["name"]) == ("weather", "clock")
    assert told(row["tools"]) == [WEATHER, CLOCK]


def test_messages_have_no_fields_but_their_own(tmp_path: Path) -> None:
    write(tmp_path, with_tools(), chat())
    assert all(
        message.keys() == {"role", "content"} for message in told(rows(tmp_path / "train.parquet")[1]["messages"])
    )


def test_texts_in_parts_and_refusals_are_texts(tmp_path: Path) -> None:
    asked = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    write(tmp_path, example(asked, {"role": "assistant", "content": None, "refusal": "No."}))
    assert told(rows(tmp_path / "train.parquet")[0]["messages"]) == [user("a\nb"), assistant("No.")]


def test_where_the_last_answer_is_learnt_it_is_a_completion(tmp_path: Path) -> None:
    write(tmp_path, chat(), mask="last")
    [row] = rows(tmp_path / "train.parquet")
    assert told(row["completion"]) == [assistant("No.")]
    assert told(row["prompt"]) == chat().messages[:-1]
    assert "messages" not in row


def test_pairs_have_a_file_of_their_own(tmp_path: Path) -> None:
    files = write(tmp_path, chat(), corrected())
    assert files == ["train.parquet", "preferences.train.parquet"]
    [row] = rows(tmp_path / "preferences.train.parquet")
    assert told(row["prompt"]) == corrected().messages[:-1]
    assert told(row["chosen"]) == [assistant("No.")]
    assert told(row["rejected"]) == [assistant("Maybe.")]
    assert row["request_id"] == "pair-1"
    assert len(rows(tmp_path / "train.parquet")) == 2


def test_what_it_cannot_say_is_left_out(tmp_path: Path) -> None:
    broken = calling(call("c", "clock", "{"))
    write(tmp_path, with_image(), chat(), example(user("Hi"), broken), corrected(rejected=[broken]))
    assert [row["request_id"] for row in rows(tmp_path / "train.parquet")] == ["chat-1", "pair-1"]
    assert not (tmp_path / "preferences.train.parquet").exists()


@pytest.mark.parametrize("limit", ["_ROWS_MAX", "_CHARACTERS_MAX"])
def test_rows_are_written_in_groups_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(parquet, limit, {"_ROWS_MAX": 10, "_CHARACTERS_MAX": 1000}[limit])
    write(tmp_path, *(chat(number) for number in range(95)))
    file = pq.ParquetFile(tmp_path / "train.parquet")
    assert file.num_row_groups >= 9
    assert [row["request_id"] for row in rows(tmp_path / "train.parquet")] == [f"chat-{n}" for n in range(95)]


def test_the_same_examples_give_the_same_bytes(tmp_path: Path) -> None:
    examples = [chat(tags={"a": "1"}), with_tools(), corrected()]
    for name in ("one", "other"):
        write(tmp_path / name, *examples)
    for name in ("train.parquet", "preferences.train.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_splits_have_the_same_columns_whatever_they_hold(tmp_path: Path) -> None:
    writer = parquet.Parquet(Write(), tmp_path)
    writer.write("train", with_tools(score=1.0))
    writer.write("test", chat())
    first, second = (pq.read_schema(path) for path in writer.close())
    assert first == second
