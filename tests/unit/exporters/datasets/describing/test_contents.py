"""Counts over the lines of sources.jsonl."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.describing.contents import BINS_MAX, Contents, contents_of, histogram, iso
from exporters.datasets.describing.manifest import _quantile
from exporters.datasets.errors import DatasetError
from exporters.datasets.provenance import SOURCES, Origin

HOUR_NS = 3_600 * 10**9


def of(*moments_h: int, split: str = "train") -> Contents:
    found = Contents()
    for number, moment in enumerate(moments_h):
        found.add(Origin(split=split, line=number + 1, request_id=str(number), timestamp_ns=moment * HOUR_NS))  # type: ignore[arg-type]
    return found


@given(st.lists(st.integers(0, 10**7)))
def test_every_value_is_in_the_bar_that_its_bound_says(values: list[int]) -> None:
    bars = histogram(values)
    assert sum(count for _, count in bars) == len(values)
    below = -1
    for bound, count in bars:
        assert count == sum(below < value <= bound for value in values) or below == -1
        below = bound
    assert all(later > bound for (bound, _), (later, _) in itertools.pairwise(bars))


def test_bars_between_values_are_there_and_empty() -> None:
    assert histogram([16, 64]) == [(16, 1), (23, 0), (32, 0), (45, 0), (64, 1)]
    assert histogram([]) == []


@given(st.lists(st.integers(0, 1000), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    ordered = sorted(values)
    found = _quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    assert sum(value < found for value in ordered) < share * len(ordered)


@given(st.lists(st.integers(1, 600_000), min_size=1, max_size=50))
def test_a_timeline_has_every_example_once_and_fits_on_a_picture(moments_h: list[int]) -> None:
    bins = of(*moments_h).timeline()
    assert sum(counts.get("train", 0) for _, counts in bins) == len(moments_h)
    assert len(bins) <= BINS_MAX or max(moments_h) - min(moments_h) > 364 * 24 * (BINS_MAX - 2)


def test_a_timeline_names_empty_stretches_too() -> None:
    assert of(100, 102).timeline() == [
        ("1970-01-05T04:00:00Z", {"train": 1}),
        ("1970-01-05T05:00:00Z", {}),
        ("1970-01-05T06:00:00Z", {"train": 1}),
    ]


def test_examples_without_a_time_are_in_no_timeline() -> None:
    found = of(0, 0)
    assert found.timeline() == []
    assert (iso(found.first_ns), iso(found.last_ns)) == ("", "")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / SOURCES).write_text('{"split":"train","line":1,"request_id":"a","timestamp_ns":0}\n{"split":"no"}\n')
    with pytest.raises(DatasetError, match="line 2"):
        contents_of(tmp_path)
    with pytest.raises(DatasetError, match="cannot be read"):
        contents_of(tmp_path / "nowhere")
