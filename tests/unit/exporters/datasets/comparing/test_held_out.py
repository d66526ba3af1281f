"""What is held out is read from files of many shapes, and what cannot be read is said without quoting it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from exporters.datasets.comparing import held_out
from exporters.datasets.comparing.held_out import items
from exporters.datasets.errors import DatasetError

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "Here."},
]


def read(path: Path) -> list[str]:
    return ["|".join(item) for item in items(str(path))]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"messages": TURNS}, "Where is it?\nHere."),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Where?"}]}]}, "Where?"),
        ({"input": {"messages": TURNS[:2]}, "preferred_output": TURNS[2:]}, "Where is it?\nHere."),
        ({"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Where?"}]}, "Where?"),
        ({"instruction": "Find it.", "input": "", "output": "Here."}, "Find it.\n\nHere."),
        ({"id": "q1", "question": "Which?", "choices": ["this", "that"], "answer": 1}, "Which?\nthis\nthat"),
        ("only a text", "only a text"),
    ],
)
def test_lines_of_json_say_what_their_strings_say(tmp_path: Path, line: Any, says: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(line) + "\n\n")
    assert read(path) == [says]


def test_lists_tables_and_paragraphs_hold_items(tmp_path: Path) -> None:
    for name, text in {
        "mine.json": '[{"question": "one"}, "two"]',
        "mine.csv": 'one\r\n"two"\r\n',
        "mine.tsv": "one\ntwo\n",
        "mine.txt": "one\n \ntwo",
        "mine.md": "\ufeffone\n\n\n\ntwo",
    }.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert [item.strip() for item in read(path)] == ["one", "two"]


def test_a_field_of_a_table_may_have_lines_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('"Which,\nof these?",this,that\n')
    assert read(path) == ["Which,\nof these?\nthis\nthat"]


def test_a_compressed_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "one"}\n{"question": "two"}\n'))
    assert read(path) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("mine.jsonl", b'{"a": "b"}\n{"secret": \n', "line 2"),
        ("mine.json", b'{"secret": ', "is not JSON"),
        ("mine.txt", b"secret\xff", "not text in UTF-8"),
        ("mine.txt.gz", b"secret", "cannot be read"),
        ("mine.csv", b"secret" * 50_000, "line 1"),
    ],
)
def test_what_cannot_be_read_is_said_and_not_quoted(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=says) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.txt cannot be read: No such file"):
        read(tmp_path / "absent.txt")


@pytest.mark.parametrize("name", ["mine.txt", "mine.txt.gz"])
def test_a_file_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(held_out, "BYTES_MAX", 1 << 20)
    path = tmp_path / name
    data = b"a" * (1 << 20) + b"b"
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(DatasetError, match="more than 1 MiB"):
        read(path)


def test_what_is_nested_too_deep_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[" * 100 + '"deep"' + "]" * 100)
    assert read(path) == [""]
