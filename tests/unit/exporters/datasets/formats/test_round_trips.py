"""What is written can be read again as files that did not come from the store are, and is the same conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.datasets.assembling.assembly import assemble
from exporters.datasets.example import Example
from exporters.datasets.formats import writers
from exporters.datasets.options import Format, Mask, Options, Write
from exporters.datasets.selecting.loading import FileSource

from .conversations import assistant, call, calling, chat, corrected, example, result, user, with_image, with_tools


def again(tmp_path: Path, made: Example, format_: Format, file: str, mask: Mask = "assistant") -> Example:
    """Written, read and assembled."""
    files = writers(Write(formats=(format_,), mask=mask), tmp_path)
    for writer in files:
        writer.write("train", made)
    for writer in files:
        writer.close()
    options = Options(name="d")
    source = FileSource((tmp_path / file,), options)
    [row] = [row for part in source.slices() for row in source.read(part)]
    found = assemble(row, options)
    assert isinstance(found, Example)
    return found


@pytest.mark.parametrize("made", [chat(), with_tools(), with_image()], ids=["chat", "tools", "image"])
@pytest.mark.parametrize("mask", ["assistant", "last"])
def test_openai(tmp_path: Path, made: Example, mask: Mask) -> None:
    found = again(tmp_path, made, "openai", "train.jsonl", mask)
    assert found.messages == made.messages
    assert found.tools == made.tools


def test_pairs(tmp_path: Path) -> None:
    found = again(tmp_path, corrected(), "openai", "preferences.train.jsonl")
    assert found.messages == corrected().messages
    assert found.rejected == corrected().rejected


@pytest.mark.parametrize("format_", ["sharegpt", "alpaca"])
def test_turns(tmp_path: Path, format_: Format) -> None:
    assert again(tmp_path, chat(), format_, f"train.{format_}.jsonl").messages == chat().messages


def test_a_call_by_turns(tmp_path: Path) -> None:
    made = example(
        user("Weather?"),
        calling(call("c", "weather", '{"town":"Ulm"}')),
        result("c", '{"sky": "grey"}'),
        assistant("Grey."),
        tools=with_tools().tools,
    )
    found = again(tmp_path, made, "sharegpt", "train.sharegpt.jsonl")
    asked, called, seen, answered = found.messages
    assert (asked, answered) == (made.messages[0], made.messages[3])
    assert [one["function"] for one in called["tool_calls"]] == [{"name": "weather", "arguments": '{"town":"Ulm"}'}]
    assert seen["content"] == '{"sky": "grey"}'
    assert seen["tool_call_id"] == called["tool_calls"][0]["id"]
    assert found.tools == made.tools
