"""What a manifest says is what the files hold, and the same rows give the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from exporters.datasets.describing.contents import origins
from exporters.datasets.describing.manifest import (
    MANIFEST,
    NAMES_MAX,
    THE_REST,
    TRAINED,
    VERSION,
    Manifest,
    changed,
    complete,
    read,
)
from exporters.datasets.errors import DatasetError
from exporters.datasets.options import Scrub

from ..made import everything, made, options, row

ROWS = [row(number) for number in range(60)] + [
    row(60, "Hello?", ""),
    row(61, "What is the plan for day 1?", "On day 1 we count to 7."),
    row(62, "Write to ann@example.com", "I wrote to ann@example.com", correction="I never write to ann@example.com"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    return made(tmp_path_factory.mktemp("root"), ROWS)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take half a second."""
    monkeypatch.setattr("exporters.datasets.describing.manifest.draw", lambda *_: [])


def test_every_row_is_written_or_counted_under_a_reason(dataset: tuple[Path, Manifest]) -> None:
    _, manifest = dataset
    assert manifest.selected == len(ROWS)
    assert manifest.dropped == {"empty_answer": 1, "exact_duplicate": 1}
    assert manifest.written == len(ROWS) - 2
    assert manifest.written == sum(split.examples for split in manifest.splits.values())


def test_the_counts_are_those_of_the_files(dataset: tuple[Path, Manifest]) -> None:
    folder, manifest = dataset
    for name, split in manifest.splits.items():
        assert len((folder / f"{name}.jsonl").read_bytes().splitlines()) == split.examples
    assert sum(split.preferences for split in manifest.splits.values()) == 1
    assert manifest.tokens.total == sum(split.tokens for split in manifest.splits.values())
    assert sum(count for _, count in manifest.tokens.histogram) == manifest.written
    tokens = sorted(origin.tokens for origin in origins(folder))
    assert manifest.tokens.max == tokens[-1]
    assert (manifest.tokens.p50, manifest.tokens.p95) == (tokens[30], tokens[57])  # of 61
    assert manifest.tokens.estimated_examples == 1  # nobody counted the correction
    assert sum(manifest.models.values()) == manifest.written
    assert manifest.models["gpt-5-mini"] > manifest.models["gpt-5"]
    assert (manifest.first, manifest.last) == ("2024-10-04T00:00:00Z", "2024-11-04T00:00:00Z")
    assert sum(sum(counts.values()) for _, counts in manifest.timeline) == manifest.written
    assert manifest.scrubbed["EMAIL"] >= 2
    assert manifest.scrubbed_examples == 1


def test_every_file_is_named_with_its_hash_and_lines(dataset: tuple[Path, Manifest]) -> None:
    folder, manifest = dataset
    files = everything(folder)
    del files[MANIFEST]
    assert {file.path for file in manifest.files} == set(files)
    for file in manifest.files:
        assert file.sha256 == hashlib.sha256(files[file.path]).hexdigest()
        assert file.bytes == len(files[file.path])
    lines = {file.path: file.lines for file in manifest.files}
    assert lines["sources.jsonl"] == manifest.written
    assert lines["train.parquet"] == lines["train.jsonl"] == manifest.splits["train"].examples
    assert lines["left-out.jsonl.zst"] == 1  # what was not fit to learn from was never a candidate
    assert lines["plots/tokens.png"] == 0


@pytest.mark.usefixtures("without_pictures")
def test_a_file_that_was_changed_is_seen(tmp_path: Path) -> None:
    folder, manifest = made(tmp_path, ROWS[:20])
    assert changed(manifest, folder) == []
    with (folder / "train.jsonl").open("ab") as file:
        file.write(b"\n")
    (folder / "README.md").unlink()
    assert changed(manifest, folder) == ["README.md", "train.jsonl"]


def test_the_same_rows_give_the_same_bytes(dataset: tuple[Path, Manifest], tmp_path: Path) -> None:
    again, _ = made(tmp_path, ROWS)
    assert everything(again) == everything(dataset[0])


def test_nothing_private_is_in_any_file(dataset: tuple[Path, Manifest]) -> None:
    for name, data in everything(dataset[0]).items():
        assert b"ann@example.com" not in data, name


@pytest.mark.usefixtures("without_pictures")
def test_what_callers_named_is_bounded(tmp_path: Path) -> None:
    rows = [row(number, prompt_name=f"prompt-{number}") for number in range(NAMES_MAX + 30)]
    _, manifest = made(tmp_path, rows)
    assert len(manifest.prompts) == NAMES_MAX + 1
    assert manifest.prompts[THE_REST] == 30


def test_it_can_be_read_again_as_it_was_written(dataset: tuple[Path, Manifest]) -> None:
    folder, manifest = dataset
    text = (folder / MANIFEST).read_bytes()
    assert msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n" == text
    assert manifest.options == options()
    assert json.loads(text)["version"] == VERSION


@pytest.mark.usefixtures("without_pictures")
def test_an_option_is_read_back(tmp_path: Path) -> None:
    chosen = options(scrub=Scrub(enabled=False, patterns=(("ID", "E[0-9]+"),)))
    assert made(tmp_path, ROWS[:20], chosen)[1].options == chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is not a dataset"),
        ("{", "is not a manifest"),
        ('{"version": 2}', "written by a newer Penstock"),
        ('{"version": 1}', "is not a manifest"),
    ],
)
def test_what_is_no_manifest_is_said_in_a_line(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DatasetError, match=said):
        read(tmp_path)


@pytest.mark.usefixtures("without_pictures")
def test_notes_of_trainers_are_no_part_of_it(tmp_path: Path) -> None:
    folder, manifest = made(tmp_path, ROWS[:20])
    (folder / TRAINED).write_text("{}\n")
    assert changed(manifest, folder) == []
    complete(manifest, folder)
    assert TRAINED not in [file.path for file in read(folder).files]


@pytest.mark.usefixtures("without_pictures")
def test_lines_of_what_is_compressed_are_counted_too(tmp_path: Path) -> None:
    same = [row(number, "How much is it?", "It is five.") for number in range(40)]
    folder, manifest = made(tmp_path, [*ROWS[:20], *same])
    lines = {file.path: file.lines for file in manifest.files}
    assert lines["left-out.jsonl.zst"] == manifest.dropped["exact_duplicate"] == 39
    assert (folder / "left-out.jsonl.zst").read_bytes().count(b"\n") != 39
