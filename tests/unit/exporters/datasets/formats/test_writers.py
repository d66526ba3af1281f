"""Which writers there are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporters.datasets.errors import DatasetError
from exporters.datasets.formats import Writer, writers
from exporters.datasets.options import Write

from .conversations import corrected, with_image


def names(made: list[Writer]) -> list[str]:
    return [writer.name for writer in made]


def test_there_is_one_for_each_format_and_one_for_pairs(tmp_path: Path) -> None:
    made = writers(Write(formats=("alpaca", "parquet", "openai", "sharegpt")), tmp_path)
    assert names(made) == ["alpaca", "parquet", "openai", "sharegpt", "preferences"]
    for writer in made:
        writer.write("validation", corrected())
        writer.write("validation", with_image())
    files = [path.name for writer in made for path in writer.close()]
    assert files == [
        "validation.alpaca.jsonl",
        "validation.parquet",
        "preferences.validation.parquet",
        "validation.jsonl",
        "validation.sharegpt.jsonl",
        "preferences.validation.jsonl",
    ]
    assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_without_arrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "exporters.datasets.formats.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"pip install 'penstock\[datasets\]'"):
        writers(Write(formats=("parquet",)), tmp_path)
