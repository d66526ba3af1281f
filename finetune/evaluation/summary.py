"""From answers and scores to the numbers of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from . import statistics
from .asking import Answer
from .examples import Example
from .perplexity import Loss
from .scoring import Score, is_yes_or_no
from .statistics import EXAMPLES_MIN, Comparison, seeded

Scores = Mapping[str, Score]
_SHOWN: Final = 5
_LOSSES_MIN: Final = 0.9
"""The share of answers whose perplexity must be known."""


class Asked(msgspec.Struct, kw_only=True):
    """All that came of one model, in the order of the examples."""

    answers: list[Answer]
    scores: list[dict[str, Score]]
    losses: list[Loss] = []
    """Of the references that say something; empty when they were not measured."""


def measured(asked: Asked, metrics: Sequence[str], seed: int, model: str) -> dict[str, Any]:
    """One model's part of `Evaluation.models`. A metric of fewer examples than two is left out."""
    found: dict[str, Any] = {}
    for metric in metrics:
        values = [scores[metric].value for scores in asked.scores if metric in scores]
        if len(values) >= EXAMPLES_MIN:
            found[metric] = (
                statistics.share(values)
                if is_yes_or_no(metric)
                else statistics.mean(values, seeded(seed, metric, model))
            )
    known = [one for one in asked.losses if one.nats is not None and one.tokens]
    if len(known) >= max(EXAMPLES_MIN, _LOSSES_MIN * len(asked.losses)):
        found["perplexity"] = statistics.perplexity(
            [one.nats or 0.0 for one in known], [one.tokens for one in known], seeded(seed, "perplexity", model)
        )
    found["latency_s"] = _latency([one.latency_s for one in asked.answers if one.latency_s is not None])
    found["cost_usd"] = _cost([one.usd for one in asked.answers if one.usd is not None], seeded(seed, "cost", model))
    found["tokens"] = {
        "input": _mean([one.input_tokens for one in asked.answers if one.input_tokens is not None]),
        "output": _mean([one.output_tokens for one in asked.answers if one.output_tokens is not None]),
    }
    found["errors"] = sum(bool(one.failure) for one in asked.answers)
    found["cut"] = sum(one.finish == "length" for one in asked.answers)
    if without := sorted({name for one in asked.answers for name in one.without}):
        found["without"] = without
    return {name: msgspec.to_builtins(value) for name, value in found.items()}


def compared(
    asked: Mapping[str, Asked], baseline: str, metrics: Sequence[str], seed: int
) -> dict[str, dict[str, Comparison]]:
    """Every other model with the baseline, `p` corrected for all of these comparisons."""
    found: dict[str, dict[str, Comparison]] = {}
    for model in asked:
        if model == baseline:
            continue
        found[model] = {}
        for metric in metrics:
            pairs = _pairs(asked[baseline], asked[model], metric)
            if len(pairs) < EXAMPLES_MIN:
                continue
            base, other = zip(*pairs, strict=True)
            found[model][metric] = (
                statistics.compare_shares(base, other)
                if is_yes_or_no(metric)
                else statistics.compare_means(base, other, seeded(seed, metric, model))
            )
        if (perplexity := _perplexities(asked[baseline], asked[model], seeded(seed, "perplexity", model))) is not None:
            found[model]["perplexity"] = perplexity
    statistics.corrected(found)
    return found


def most_different(
    examples: Sequence[Example], asked: Mapping[str, Asked], baseline: str, metric: str
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By model: where it is worse than the baseline, and where better, the most different first, and only a few."""
    worse, better = {}, {}
    for model in asked:
        if model != baseline:
            apart = [(_apart(asked, baseline, model, metric, place), one.id) for place, one in enumerate(examples)]
            worse[model] = [name for gap, name in sorted(apart, key=lambda one: one[0]) if gap < 0][:_SHOWN]
            better[model] = [name for gap, name in sorted(apart, key=lambda one: -one[0]) if gap > 0][:_SHOWN]
    return worse, better


def details(
    examples: Sequence[Example], asked: Mapping[str, Asked], baseline: str, metric: str
) -> list[dict[str, Any]]:
    """A line for each example, those first where some model differs most from the baseline."""
    lines = []
    for place, one in enumerate(examples):
        gaps = {model: _apart(asked, baseline, model, metric, place) for model in asked if model != baseline}
        lines.append(
            {
                "id": one.id,
                "call": one.call,
                "difference": gaps,
                "reference": one.reference,
                "answers": {model: _detail(found, place) for model, found in asked.items()},
            }
        )
    return sorted(lines, key=lambda line: -max(map(abs, line["difference"].values()), default=0.0))


def _detail(asked: Asked, place: int) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(asked.answers[place])
    return said | {"scores": msgspec.to_builtins(asked.scores[place])}


def _apart(asked: Mapping[str, Asked], baseline: str, model: str, metric: str, place: int) -> float:
    """How much better `model` is on one example; 0 for a metric that single answers have none of."""
    one, other = (asked[name].scores[place].get(metric) for name in (baseline, model))
    return other.value - one.value if one is not None and other is not None else 0.0


def _pairs(base: Asked, other: Asked, metric: str) -> list[tuple[float, float]]:
    return [
        (one[metric].value, two[metric].value)
        for one, two in zip(base.scores, other.scores, strict=True)
        if metric in one and metric in two
    ]


def _perplexities(base: Asked, other: Asked, seed: Sequence[int]) -> Comparison | None:
    """None where they are not known, or the models cut the answers differently: then they mean different things."""
    if not base.losses or not other.losses:
        return None
    pairs = [
        (one.nats, two.nats, one.tokens)
        for one, two in zip(base.losses, other.losses, strict=True)
        if one.nats is not None and two.nats is not None and one.tokens == two.tokens > 0
    ]
    if len(pairs) < max(EXAMPLES_MIN, _LOSSES_MIN * len(base.losses)):
        return None
    ones, twos, tokens = zip(*pairs, strict=True)
    return statistics.compare_perplexities(ones, twos, tokens, seed)


def _latency(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"n": 0}
    p50, p95 = np.quantile(values, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95), "mean": float(np.mean(values)), "n": len(values)}


def _cost(values: Sequence[float], seed: Sequence[int]) -> dict[str, Any]:
    if len(values) < EXAMPLES_MIN:
        return {"n": 0}
    found: dict[str, Any] = msgspec.to_builtins(statistics.mean(values, seed))
    return found | {"total": float(sum(values))}


def _mean(values: Sequence[int]) -> float | None:
    return float(np.mean(values)) if values else None
