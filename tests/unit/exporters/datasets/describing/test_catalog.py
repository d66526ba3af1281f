"""Which datasets there are, and how two of them differ."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from exporters.datasets.describing.catalog import datasets, difference, runs
from exporters.datasets.describing.manifest import TRAINED
from exporters.datasets.errors import DatasetError
from exporters.datasets.options import Arrange

from ..made import made, options, row

ROWS = [row(number) for number in range(60)]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take half a second."""
    monkeypatch.setattr("exporters.datasets.describing.manifest.draw", lambda *_: [])


def test_datasets_are_listed_by_name_and_hidden_folders_are_not(tmp_path: Path) -> None:
    for name in ("b", "a"):
        made(tmp_path, ROWS[:20], options(name))
    (tmp_path / ".a.building-1").mkdir()
    (tmp_path / ".a.building-1" / "manifest.json").write_text("{}")
    (tmp_path / "other").mkdir()
    assert [folder.name for folder in datasets(tmp_path)] == ["a", "b"]
    assert datasets(tmp_path / "nowhere") == []


def test_what_only_one_has_is_named_and_counted(tmp_path: Path) -> None:
    first, _ = made(tmp_path, ROWS[:50], options("a"))
    second, _ = made(tmp_path, ROWS[5:], options("b"))
    found = difference(first, second, ids_max=3)
    assert (found.only_in_first, found.only_in_second, found.in_both) == (5, 10, 45)
    assert found.first_ids == ["req-0000", "req-0001", "req-0002"]
    assert found.second_ids == ["req-0050", "req-0051", "req-0052"]
    assert found.moved == 0
    assert found.counts["selected"] == (50, 55)
    assert found.options == {"name": ("a", "b")}


def test_what_changed_splits_is_named(tmp_path: Path) -> None:
    first, before = made(tmp_path, ROWS, options("a"))
    second, _ = made(tmp_path, ROWS, options("b", arrange=Arrange(validation=0.2, test=0.2, salt="other")))
    found = difference(first, second)
    splits = [{}, {}]  # type: list[dict[str, str]]
    for place, folder in enumerate((first, second)):
        for line in (folder / "sources.jsonl").read_bytes().splitlines():
            origin = msgspec.json.decode(line)
            splits[place][origin["request_id"]] = origin["split"]
    moved = [name for name, split in splits[0].items() if splits[1].get(name, split) != split]
    assert moved
    assert (found.moved, found.moved_ids) == (len(moved), moved)
    assert found.options["arrange.salt"] == ("", "other")
    assert before.written == found.only_in_first + found.in_both


def test_a_dataset_does_not_differ_from_itself(tmp_path: Path) -> None:
    folder, manifest = made(tmp_path, ROWS)
    found = difference(folder, folder)
    assert (found.only_in_first, found.only_in_second, found.in_both, found.options) == (0, 0, manifest.written, {})


def test_runs_are_what_trainers_noted(tmp_path: Path) -> None:
    assert runs(tmp_path) == []
    (tmp_path / TRAINED).write_text('{"run": "a"}\n\n{"run": "b"}\n')
    assert [run["run"] for run in runs(tmp_path)] == ["a", "b"]
    (tmp_path / TRAINED).write_text('{"run": ')
    with pytest.raises(DatasetError, match=TRAINED):
        runs(tmp_path)
