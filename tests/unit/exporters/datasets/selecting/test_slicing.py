"""Slices cover what was counted, once and in order, within their limits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.selecting.slicing import Count, slices_of, smaller

SIZES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 900)), min_size=1, max_size=40)


def counts(sizes: list[tuple[int, int]]) -> list[Count]:
    return [Count(number * 60, number * 60 + 60, rows, size, 0) for number, (rows, size) in enumerate(sizes)]


@given(SIZES, st.integers(50, 120), st.integers(900, 2000))
def test_neighbours_are_joined_as_far_as_both_limits_allow(
    sizes: list[tuple[int, int]], rows_max: int, bytes_max: int
) -> None:
    given = counts(sizes)
    slices = slices_of(given, rows_max, bytes_max)
    assert sum(part.rows for part in slices) == sum(rows for rows, _ in sizes)
    assert [part.number for part in slices] == list(range(len(slices)))
    covered = [[one for one in given if part.begin <= one.begin < part.end] for part in slices]
    assert [one for part in covered for one in part] == given
    for part in covered:
        assert sum(one.rows for one in part) <= rows_max
        assert sum(one.bytes for one in part) <= bytes_max
    for part, after in pairwise(covered):
        both = [*part, after[0]]
        assert sum(one.rows for one in both) > rows_max or sum(one.bytes for one in both) > bytes_max


@given(st.integers(2, 1000), st.integers(0, 10_000), st.integers(1, 100), st.integers(1, 1000))
def test_buckets_are_of_one_stretch_and_no_larger_than_they_may_be(
    rows: int, size: int, rows_max: int, bytes_max: int
) -> None:
    whole = Count(10, 20, rows, size, rows // 2)
    buckets = smaller(whole, rows_max, bytes_max)
    assert sum(one.rows for one in buckets) == rows
    assert [one.bucket for one in buckets] == [f"{place}/{len(buckets)}" for place in range(len(buckets))]
    assert all((one.begin, one.end) == (10, 20) for one in buckets)
    assert all(not one.is_over(rows_max, bytes_max) for one in buckets)


def test_buckets_are_not_joined_with_their_neighbours() -> None:
    alone = Count(0, 60, 1, 1, 0)
    found = slices_of([alone, *smaller(Count(60, 120, 4, 1, 0), 2, 9), alone._replace(begin=120, end=180)], 9, 9)
    assert [(part.begin, part.file) for part in found] == [(0, ""), (60, "0/2"), (60, "1/2"), (120, "")]


def test_a_row_larger_than_a_slice_is_a_slice() -> None:
    assert not Count(0, 1, 1, 10**12, 0).is_over(10, 10)
    assert Count(0, 1, 2, 10**12, 0).is_over(10, 10)
