"""What a call would have cost more without one thing that made it cheaper. Facts of the bill alone, no promises."""

from __future__ import annotations

from typing import Final

from .rates import Cost, RateCard, Usage

CHEAPER_TIERS: Final = frozenset({"flex", "batch"})
"""Tiers that trade time for money. Priority costs more, which is no saving."""


def savings(usage: Usage, card: RateCard, cost: Cost, tier: str, standard: RateCard | None) -> dict[str, float]:
    """USD by strategy, only those that saved something:

    provider_cache: input that the provider read from its own prompt cache, against its uncached rate at this tier. What
    was paid extra to write that cache is in `cost_cache_write`, not here.
    flex, batch: the same call at the standard tier (`standard`), its cache included.

    Each compares with the call without that one strategy, so that their sum never says more than all saved together.
    """
    found = {}
    cached = usage.cached_tokens
    if cached:
        rates = card.rates(usage.input_tokens or 0)
        saved = cached * (rates.input - rates.cached)
        if saved > 0.0:
            found["provider_cache"] = saved
    if tier in CHEAPER_TIERS and standard is not None:
        at_standard = standard.cost(usage)
        if at_standard is not None and at_standard.total > cost.total:
            found[tier] = at_standard.total - cost.total
    return found
