"""Intervals that hold what they say, and differences that are found when there are some and not when there are none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from finetune.evaluation.statistics import (
    Comparison,
    compare_means,
    compare_perplexities,
    compare_shares,
    corrected,
    mean,
    perplexity,
    seeded,
    share,
)

SEED = seeded(0, "test")


def test_the_mean_of_many_numbers_lies_where_theory_says() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    found = mean(values.tolist(), SEED)
    error = 1.96 * values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - error, abs=0.03),
        pytest.approx(values.mean() + error, abs=0.03),
    )
    assert found.n == 400
    assert mean(values.tolist(), SEED) == found, "the same seed gives the same interval"
    assert mean(values.tolist(), seeded(1, "test")) != found


def test_all_right_is_not_certain() -> None:
    found = share([1.0] * 20)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.839, abs=0.001)  # Wilson's 20 / (20 + 1.96²)


def test_identical_models_do_not_differ() -> None:
    rng = np.random.default_rng(2)
    numbers, answers = rng.random(60).tolist(), (rng.random(60) < 0.5).astype(float).tolist()
    for found in (compare_means(numbers, numbers, SEED), compare_shares(answers, answers)):
        assert (found.difference, found.p) == (0.0, 1.0)
        assert found.low <= 0 <= found.high


def test_a_shift_is_found() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(80)
    other = base + rng.normal(0.05, 0.1, 80)
    found = compare_means(base.tolist(), other.tolist(), SEED)
    assert found.p < 0.01
    assert 0 < found.low < found.difference < found.high
    won = [0.0] * 12 + [1.0] * 40
    found = compare_shares([0.0] * 14 + [1.0] * 38, won)
    assert found.p == pytest.approx(0.5), "two won, none lost: McNemar's exact p is 2 × 0.25"
    found = compare_shares([0.0] * 52, won)
    assert found.p < 1e-6
    assert found.low > 0.5


def test_chance_is_seldom_called_a_difference() -> None:
    rng = np.random.default_rng(4)
    means = [compare_means(rng.random(20).tolist(), rng.random(20).tolist(), seeded(n, "")) for n in range(60)]
    shares = [
        compare_shares(*(rng.random((2, 20)) < 0.6).astype(float).tolist()) for _ in range(400)
    ]  # both models right by chance in 6 of 10
    assert sum(one.p < 0.05 for one in means) <= 9
    assert sum(one.p < 0.05 for one in shares) <= 30
    assert sum(not one.low <= 0 <= one.high for one in shares) <= 36


def test_p_is_corrected_as_holm_says() -> None:
    alone = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    found = {"m": {name: Comparison(difference=0, low=0, high=0, p=p, n=9, p_alone=p) for name, p in alone.items()}}
    corrected(found)
    # As R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") has it.
    assert {name: one.p for name, one in found["m"].items()} == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert found["m"]["a"].p_alone == 0.01


def test_perplexity_is_that_of_all_tokens() -> None:
    found = perplexity([2.0, 6.0], [4, 4], SEED)
    assert found.mean == pytest.approx(math.exp(1))
    assert (found.low, found.high) == (pytest.approx(math.exp(0.5)), pytest.approx(math.exp(1.5)))
    rng = np.random.default_rng(5)
    tokens = rng.integers(5, 50, 40)
    base = tokens * rng.normal(2, 0.2, 40)
    better = base - tokens * rng.normal(0.3, 0.05, 40)
    compared = compare_perplexities(base.tolist(), better.tolist(), tokens.tolist(), SEED)
    assert compared.high < 0
    assert compared.p < 0.001
    assert compared.difference == pytest.approx(
        math.exp(better.sum() / tokens.sum()) - math.exp(base.sum() / tokens.sum())
    )
