"""What scores prove: how sure a mean is, and whether two models differ by more than chance. All at 95 %.

Yes and no are counted: Wilson's interval for a share, Bonett and Price's for the difference of two on the same
examples, McNemar's exact test. All else is resampled over examples: a percentile bootstrap, and a test that changes
the sign of differences. A bootstrap of twenty right answers out of twenty would call itself certain; these do not.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..run import Interval

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 9999
EXAMPLES_MIN: Final = 2
"""Of fewer there is no interval."""
_AT_ONCE: Final = 2_000_000
"""Numbers that a step of resampling holds."""
_Z: Final = 1.959963984540054

Numbers = NDArray[np.float64]


class Comparison(msgspec.Struct, kw_only=True):
    """Of a model with the baseline, on the same examples."""

    difference: float
    """Of the model's mean from the baseline's."""
    low: float
    high: float
    p: float
    """That chance alone does as much, corrected for all comparisons of the evaluation (Holm 1979)."""
    n: int
    p_alone: float = 1.0
    """Not corrected."""


def share(values: Sequence[float]) -> Interval:
    """Of ones among ones and zeros."""
    ones, n = round(sum(values)), len(values)
    found = stats.binomtest(ones, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(mean=ones / n, low=float(found.low), high=float(found.high), n=n)


def mean(values: Sequence[float], seed: Sequence[int]) -> Interval:
    """Of numbers, `EXAMPLES_MIN` or more."""
    data = np.asarray(values, np.float64)
    low, high = _bootstrap((data,), np.mean, seed)
    return Interval(mean=float(data.mean()), low=low, high=high, n=len(data))


def perplexity(losses: Sequence[float], tokens: Sequence[int], seed: Sequence[int]) -> Interval:
    """Of all tokens together, from each example's sum of losses (nats) and its tokens."""
    sums, counts = np.asarray(losses, np.float64), np.asarray(tokens, np.float64)
    low, high = _bootstrap((sums, counts), _perplexity, seed)
    return Interval(mean=float(_perplexity(sums, counts)), low=low, high=high, n=len(sums))


def compare_shares(base: Sequence[float], other: Sequence[float]) -> Comparison:
    """Of ones and zeros. Interval: Bonett & Price 2012, doi:10.3102/1076998611411915."""
    lost = sum(one > two for one, two in zip(base, other, strict=True))
    won = sum(one < two for one, two in zip(base, other, strict=True))
    n = len(base)
    p_won, p_lost = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    width = _Z * math.sqrt((p_won + p_lost - (p_won - p_lost) ** 2) / (n + 2))
    p = float(stats.binomtest(min(won, lost), won + lost).pvalue) if won + lost else 1.0
    low, high = max(-1.0, p_won - p_lost - width), min(1.0, p_won - p_lost + width)
    return Comparison(difference=(won - lost) / n, low=low, high=high, p=p, n=n, p_alone=p)


def compare_means(base: Sequence[float], other: Sequence[float], seed: Sequence[int]) -> Comparison:
    """Of numbers for the same examples in the same order."""
    apart = np.asarray(other, np.float64) - np.asarray(base, np.float64)
    low, high = _bootstrap((apart,), np.mean, seed)
    p = _sign_test(apart, seed)
    return Comparison(difference=float(apart.mean()), low=low, high=high, p=p, n=len(apart), p_alone=p)


def compare_perplexities(
    base: Sequence[float], other: Sequence[float], tokens: Sequence[int], seed: Sequence[int]
) -> Comparison:
    """Of two models that cut the same texts into the same tokens."""
    one, two, counts = (np.asarray(values, np.float64) for values in (base, other, tokens))

    def apart(one: Numbers, two: Numbers, counts: Numbers, axis: int = -1) -> Any:
        return _perplexity(two, counts, axis) - _perplexity(one, counts, axis)

    low, high = _bootstrap((one, two, counts), apart, seed)
    p = _sign_test(two - one, seed)
    difference = float(apart(one, two, counts))
    return Comparison(difference=difference, low=low, high=high, p=p, n=len(one), p_alone=p)


def corrected(found: Mapping[str, Mapping[str, Comparison]]) -> None:
    """Correct every `p` for all of them together: the smallest counts as often as there are comparisons, and so on."""
    ranked = sorted((one for by_metric in found.values() for one in by_metric.values()), key=lambda one: one.p_alone)
    least = 0.0
    for place, one in enumerate(ranked):
        least = one.p = min(1.0, max(least, one.p_alone * (len(ranked) - place)))


def seeded(seed: int, *names: str) -> Sequence[int]:
    """Of its own for each thing that is resampled, so that one more changes nothing of the others."""
    return [seed, *(zlib.crc32(name.encode()) for name in names)]


def _perplexity(losses: Numbers, tokens: Numbers, axis: int = -1) -> Any:
    return np.exp(losses.sum(axis=axis) / tokens.sum(axis=axis))


def _bootstrap(data: tuple[Numbers, ...], statistic: Any, seed: Sequence[int]) -> tuple[float, float]:
    if all((one == one[0]).all() for one in data):  # nothing to draw from
        value = float(statistic(*data, axis=-1))
        return value, value
    found = stats.bootstrap(
        data,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, _AT_ONCE // len(data[0])),
        vectorized=True,
        paired=len(data) > 1,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _sign_test(apart: Numbers, seed: Sequence[int]) -> float:
    """That the differences are as far from zero by chance, their signs being any. Exact for up to 13 examples."""
    if not apart.any():
        return 1.0
    found = stats.permutation_test(
        (apart,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _AT_ONCE // len(apart)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
