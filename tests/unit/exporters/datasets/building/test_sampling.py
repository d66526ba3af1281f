"""`--sample` counts by what it was asked to count by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from exporters.datasets.building.build import Outcome, build
from exporters.datasets.example import Row
from exporters.datasets.options import Arrange, Decontaminate, Deduplicate, Options, SampleBy, Select
from tests.datasets.corpus import more
from tests.datasets.rows import RowSource, rows_of


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """90 clean conversations, named in cycles of different lengths."""
    found = rows_of(more(1_795_400_000, clean=90))
    for number, row in enumerate(found):
        row.response_model, row.key_id, row.prompt_name = f"m-{number % 2}", f"k-{number % 3}", ""
        row.label, row.user, row.session = f"l-{number % 5}", f"u-{number % 7}", f"s-{number % 9}"
    return found


def name_of(row: Row, by: str) -> str:
    if by == "template":
        system = [one for one in json.loads(row.input_messages) if one["role"] == "system"]
        return str(system) + row.system_instructions
    fields = {"key": "key_id", "model": "response_model", "prompt": "prompt_name"}
    return str(getattr(row, fields.get(by, by)))


def written(rows: list[Row], folder: Path, by: SampleBy, most: int) -> set[str]:
    """The ids of what is left."""
    options = Options(
        name="x",
        select=Select(sample=most, sample_by=by),
        deduplicate=Deduplicate(near=0.0),
        decontaminate=Decontaminate(benchmarks=()),
        arrange=Arrange(validation=0.0, test=0.0),
    )

    def finish(outcome: Outcome, made: Path) -> None:
        assert outcome.selected == len(rows)

    build(options, RowSource(rows), folder, finish)
    return {json.loads(line)["request_id"] for line in (folder / "x" / "sources.jsonl").read_text().splitlines()}


@pytest.mark.parametrize("by", [by for by in get_args(SampleBy) if by not in ("", "prompt")])
def test_each_name_is_in_it_as_often_as_asked(rows: list[Row], tmp_path: Path, by: SampleBy) -> None:
    kept = written(rows, tmp_path, by, 2)
    names = [name_of(row, by) for row in rows if row.request_id in kept]
    # Of the Responses API the system prompt stands elsewhere, and is the same template.
    if by != "template":
        assert sorted(names) == sorted(2 * sorted({name_of(row, by) for row in rows}))
    assert 2 <= len(kept) < len(rows) / 2


def test_prompts_are_counted_by_their_names(rows: list[Row], tmp_path: Path) -> None:
    for number, row in enumerate(rows):
        row.prompt_name = f"p-{number % 4}"
    kept = written(rows, tmp_path, "prompt", 3)
    assert sorted(row.prompt_name for row in rows if row.request_id in kept) == sorted(3 * ["p-0", "p-1", "p-2", "p-3"])
