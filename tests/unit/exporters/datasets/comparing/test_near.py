"""Clusters are what a comparison of all with all finds, whatever the order, in linear time for huge crowds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporters.datasets.comparing import near
from exporters.datasets.index import SIGNATURE
from exporters.datasets.progress import Silent


class Counted:
    """Progress that is added up."""

    total = 0

    def phase(self, name: str, total: int) -> None: ...

    def advance(self, count: int = 1) -> None:
        assert count >= 0
        self.total += count


def clusters(table: NDArray[np.uint32], rows: NDArray[np.int64], threshold: float) -> list[int]:
    progress = Counted()
    found = near.clusters(lambda some: table[some], rows, threshold, progress)
    assert progress.total == len(rows)
    return [int(name) for name in found]


def by_hand(table: NDArray[np.uint32], rows: NDArray[np.int64], threshold: float) -> list[int]:
    """Each with each, until nothing changes."""
    alike = (table[rows][:, None] == table[rows][None]).sum(axis=2) >= threshold * SIGNATURE - 1e-9
    names = rows.copy()
    while True:
        smallest = np.array([names[some].min() for some in alike], dtype=np.int64)
        if np.array_equal(smallest, names):
            return [int(name) for name in names]
        names = smallest


def grown(seed: int, count: int, least: float) -> NDArray[np.uint32]:
    """Signatures of which two in three share at least so much with an earlier one."""
    dice = np.random.default_rng(seed)
    table = dice.integers(0, 2**32, (count, SIGNATURE), dtype=np.uint32)
    for row in range(1, count):
        if dice.random() < 2 / 3:
            kept = dice.random(SIGNATURE) < dice.uniform(least, 1)
            table[row] = np.where(kept, table[dice.integers(0, row)], table[row])
    return table


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.7, 0.85, 0.9, 1.0]), st.integers(1, 120))
def test_as_if_all_were_compared_with_all(seed: int, threshold: float, count: int) -> None:
    """But for pairs that agree in no band, which are fewer than one in a hundred of those at the threshold."""
    table = grown(seed, 400, threshold - 0.25)
    rows = np.sort(np.random.default_rng(seed).choice(400, count, replace=False)).astype(np.int64)
    found, expected = clusters(table, rows, threshold), by_hand(table, rows, threshold)
    missed = sum(one != other for one, other in zip(found, expected, strict=True))
    assert missed <= 1 + count // 20
    # What is missed makes clusters smaller, never larger.
    assert all(by <= name for name, by in zip(found, expected, strict=True))


def test_nothing_is_missed_in_the_long_run() -> None:
    missed = clustered = 0
    for seed in range(12):
        table, rows = grown(seed, 300, 0.6), np.arange(300)
        found, expected = clusters(table, rows, 0.85), by_hand(table, rows, 0.85)
        missed += sum(one != other for one, other in zip(found, expected, strict=True))
        clustered += sum(name != row for name, row in zip(expected, rows, strict=True))
    assert clustered > 800
    assert missed <= clustered // 200


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    table = grown(seed, 200, 0.5)
    rows = np.arange(200)
    order = np.random.default_rng(seed).permutation(200)
    names = clusters(table, rows, 0.8)
    assert clusters(table, rows[order], 0.8) == [names[row] for row in order]


def test_a_cluster_has_the_smallest_number_of_its_rows() -> None:
    table = np.random.default_rng(1).integers(0, 2**32, (50, SIGNATURE), dtype=np.uint32)
    table[[7, 31, 42]] = table[7]
    assert clusters(table, np.array([42, 3, 31, 7]), 0.85) == [7, 3, 7, 7]
    assert clusters(table, np.array([42, 3, 31]), 0.85) == [31, 3, 31]


def test_alike_is_passed_on() -> None:
    """The first and the last of a chain share little."""
    table = np.random.default_rng(2).integers(0, 2**32, (10, SIGNATURE), dtype=np.uint32)
    for row in range(1, 10):
        table[row] = table[row - 1]
        table[row, row * 12 : row * 12 + 12] += 1
    assert clusters(table, np.arange(10), 0.9) == [0] * 10
    assert np.mean(table[0] == table[9]) < 0.2


@pytest.mark.parametrize("equal", [108, 109])
def test_the_threshold_is_kept_to_the_value(equal: int) -> None:
    """0.85 of 128 values is 108.8."""
    table = np.random.default_rng(3).integers(0, 2**32, (2, SIGNATURE), dtype=np.uint32)
    table[1, :equal] = table[0, :equal]
    assert clusters(table, np.arange(2), 0.85) == ([0, 0] if equal >= 109 else [0, 1])


def test_no_row_and_one_row() -> None:
    table = np.zeros((5, SIGNATURE), np.uint32)
    assert clusters(table, np.zeros(0, np.int64), 0.85) == []
    assert clusters(table, np.array([4]), 0.85) == [4]


def test_a_hundred_thousand_equal_ones_are_read_a_few_times_each() -> None:
    table = np.random.default_rng(4).integers(0, 2**32, (1, SIGNATURE), dtype=np.uint32)
    read = 0

    def signatures(rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        nonlocal read
        read += len(rows)
        assert len(rows) <= 8192
        return table[np.zeros(len(rows), np.int64)]

    found = near.clusters(signatures, np.arange(100_000), 0.85, Silent())
    assert not found.any()
    assert read <= 4 * 100_000


def test_a_crowd_of_one_template_costs_as_much_as_its_rows() -> None:
    """Three quarters of each are the template's, and none are nearly the same; but for a pair, which is found."""
    dice = np.random.default_rng(5)
    table = dice.integers(0, 2**32, (20_000, SIGNATURE), dtype=np.uint32)
    template = dice.random((20_000, SIGNATURE)) < 0.75
    table[template] = np.broadcast_to(table[0], table.shape)[template]
    table[17_000] = table[300]
    table[17_000, ::12] += 1
    read = 0

    def signatures(rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        nonlocal read
        read += len(rows)
        return table[rows]

    found = near.clusters(signatures, np.arange(20_000), 0.85, Silent())
    assert found[17_000] == found[300] == 300
    bands, _ = near.bands(0.85)
    # A tenth of the rows are in a crowd of a band.
    assert read < 20_000 * bands * 2.5


def test_in_a_crowd_those_are_compared_that_agree_in_more() -> None:
    """Of rows that share most of a template some are nearly the same: neighbours by chance would find fewer."""
    dice = np.random.default_rng(6)
    table = dice.integers(0, 2**32, (3000, SIGNATURE), dtype=np.uint32)
    template = dice.random((3000, SIGNATURE)) < 0.88
    table[template] = np.broadcast_to(table[0], table.shape)[template]
    rows = np.arange(3000)
    alone = sum(name == row for row, name in zip(rows, clusters(table, rows, 0.85), strict=True))
    assert alone < 1950


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])
def test_bands_find_what_is_as_similar_as_the_threshold(threshold: float) -> None:
    count, values = near.bands(threshold)
    assert count * values <= SIGNATURE
    assert 1 - (1 - threshold**values) ** count >= near.RECALL
    more = SIGNATURE // (values + 1)
    assert values == SIGNATURE or 1 - (1 - threshold ** (values + 1)) ** more < near.RECALL
