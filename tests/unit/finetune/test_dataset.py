"""A dataset says who learnt of it: each once, whatever was left half written, and whatever does not fit."""

from __future__ import annotations

import json
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from finetune.dataset import Dataset
from finetune.errors import FinetuneError
from tests.training_set import talk, write

AT = datetime(2026, 11, 3, tzinfo=UTC)
LINE = {"run": "a", "base": "b", "adapter": "/runs/a", "at": "2026-11-03T00:00:00+00:00"}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.open(write(tmp_path / "pirates", {"train": [talk(1)]}))


def note(dataset: Dataset, adapter: str = "/runs/a") -> list[Any]:
    """What stands there then; None for a line that cannot be read."""
    dataset.note_trained(run="a", base="b", adapter=adapter, at=AT)
    found = []
    for line in (dataset.folder / "trained.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append(None)
    return found


def test_each_adapter_of_a_run_is_noted_once(dataset: Dataset) -> None:
    dataset.check_noted()
    assert note(dataset) == note(dataset) == [LINE]
    assert note(dataset, "/moved/a") == [LINE, LINE | {"adapter": "/moved/a"}]
    assert len(note(dataset)) == 2


@pytest.mark.parametrize(
    "torn", ['{"run": "a", "adap', "[1]", '{"run": "\ud800"}'], ids=["half", "a list", "surrogate"]
)
def test_it_is_noted_behind_a_line_that_cannot_be_read(dataset: Dataset, torn: str) -> None:
    (dataset.folder / "trained.jsonl").write_bytes(torn.encode("utf-8", "surrogatepass"))
    dataset.note_trained(run="a", base="b", adapter="/runs/a", at=AT)
    *_, last = (dataset.folder / "trained.jsonl").read_bytes().splitlines()
    assert json.loads(last) == LINE


def test_what_does_not_fit_leaves_nothing_half_written(dataset: Dataset) -> None:
    note(dataset)
    path = dataset.folder / "trained.jsonl"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(FinetuneError, match=r"trained\.jsonl cannot be written: No space left"):
            note(dataset, "/runs/b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert note(dataset, "/runs/b") == [LINE, LINE | {"adapter": "/runs/b"}]
