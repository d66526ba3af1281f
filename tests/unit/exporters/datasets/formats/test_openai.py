"""OpenAI's lines for supervised fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporters.datasets.example import Example
from exporters.datasets.formats.openai import OpenAI
from exporters.datasets.options import Write

from .conversations import CLOCK, WEATHER, assistant, chat, example, user, with_image, with_tools


def lines(folder: Path, *examples: Example) -> list[dict[str, Any]]:
    writer = OpenAI(Write(), folder)
    for one in examples:
        writer.write("train", one)
    [path] = writer.close()
    assert path == folder / "train.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_examples_are_the_conversations_that_they_were(tmp_path: Path) -> None:
    examples = [chat(), with_tools(), with_image()]
    assert [line["messages"] for line in lines(tmp_path, *examples)] == [one.messages for one in examples]


def test_tools_are_beside_them_where_there_were_any(tmp_path: Path) -> None:
    plain, both, neither = lines(tmp_path, chat(), with_tools(), with_tools(parallel_tool_calls=None))
    assert plain.keys() == {"messages"}
    assert both["tools"] == [WEATHER, CLOCK]
    assert both["parallel_tool_calls"] is True
    assert neither.keys() == {"messages", "tools"}


def test_each_split_with_examples_has_a_file(tmp_path: Path) -> None:
    writer = OpenAI(Write(), tmp_path)
    writer.write("test", chat(1))
    writer.write("train", chat(2))
    writer.write("test", chat(3))
    assert sorted(path.name for path in writer.close()) == ["test.jsonl", "train.jsonl"]
    assert len((tmp_path / "test.jsonl").read_text().splitlines()) == 2
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 1


def test_a_line_is_one_line_whatever_it_says(tmp_path: Path) -> None:
    odd = 'a\nb\r\n\u2028c\u2029\x85\x00"\\ \N{GRINNING FACE}'
    [line] = lines(tmp_path, example(user(odd), assistant("Yes")))
    assert line["messages"][0]["content"] == odd
    assert (tmp_path / "train.jsonl").read_bytes().count(b"\n") == 1


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("mine")
    with pytest.raises(FileExistsError):
        OpenAI(Write(), tmp_path).write("train", chat())
