"""Alpaca's lines: questions and answers without calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporters.datasets.example import Example
from exporters.datasets.formats.alpaca import Alpaca
from exporters.datasets.options import Write

from .conversations import CLOCK, assistant, chat, example, user, with_image, with_tools


def written(folder: Path, *examples: Example) -> list[dict[str, Any]]:
    writer = Alpaca(Write(), folder)
    for one in examples:
        writer.write("train", one)
    paths = writer.close()
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def test_earlier_turns_are_history(tmp_path: Path) -> None:
    [line] = written(tmp_path, chat())
    assert line == {
        "id": "chat-1",
        "instruction": "Twice?",
        "input": "",
        "output": "No.",
        "system": "You are terse.",
        "tools": "",
        "history": [["What is 1 and 1?", "2"]],
    }
    assert (tmp_path / "train.alpaca.jsonl").exists()


def test_tools_that_were_not_called_are_named(tmp_path: Path) -> None:
    [line] = written(tmp_path, example(user("Hi"), assistant("Hello"), tools=[CLOCK]))
    assert json.loads(line["tools"]) == [CLOCK["function"]]
    assert line["history"] == []


def test_what_it_cannot_say_is_left_out(tmp_path: Path) -> None:
    lines = written(tmp_path, with_tools(), chat(), with_image(), with_tools())
    assert [line["id"] for line in lines] == ["chat-1"]
