"""What a call would have cost more without one thing that made it cheaper. Facts of the bill alone, no promises.

The ledger of one call never says more than was saved: what it cost and all its savings together are at most what it
would have cost at the standard tier, bought, with nothing read from a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exporters.record import CallRecord

from .rates import Cost, RateCard, Usage

CHEAPER_TIERS: Final = frozenset({"flex", "batch"})
"""Tiers that trade time for money. Priority costs more, which is no saving."""

_OF_A_BILL: Final = CHEAPER_TIERS | {"provider_cache", "smaller_model", "pruning"}


def reused_by(record: CallRecord) -> str:
    """The strategy that answered a call without buying anything; "" for a call that was bought.

    The status decides, as a caller who leaves a reply from the cache halfway (`abandoned`) bought nothing either.
    """
    if not record.reused:
        return ""
    return "coalescing" if record.cache_status == "coalesced" else "response_cache"


def not_bought(strategy: str, before: Mapping[str, float], cost: Cost | None) -> dict[str, float]:
    """USD by strategy of a call that was answered without the upstream: all that it would have cost, under `strategy`.

    `cost` is that of the reply when it is bought, at its own tier; None: not known, so nothing is claimed. What
    cheapens a bill is not counted on top, because there was no bill. `before`: what others have saved.
    """
    found = {name: saved for name, saved in before.items() if name not in _OF_A_BILL}
    if cost is not None and cost.total > 0.0:
        found[strategy] = cost.total
    return found


def savings(
    usage: Usage,
    card: RateCard,
    cost: Cost,
    tier: str,
    standard: RateCard | None,
    baseline: RateCard | None = None,
    pruned_tokens: int = 0,
) -> dict[str, float]:
    """USD by strategy, only those that saved something:

    provider_cache: input that the provider read from its own prompt cache, against its uncached rate at this tier. What
    was paid extra to write that cache is in `cost_cache_write`, not here.
    flex, batch: the same call at the standard tier (`standard`), its cache included.
    smaller_model: the same tokens at the standard tier of the model that it stands for (`baseline`), as far as that is
    more than at its own.
    pruning: input that was cut off (`pruned_tokens`), at the rate of cached input at this tier: the least that it would
    have cost, as it is a beginning that is always the same.

    Each compares with the call without that one strategy, so that their sum never says more than all saved together.
    """
    found = {}
    if usage.cached_tokens:
        saved = card.saved_by_cache(usage)
        if saved > 0.0:
            found["provider_cache"] = saved
    if pruned_tokens and (rate := card.rates(usage.input_tokens or 0).cached) > 0.0:
        found["pruning"] = pruned_tokens * rate
    at_standard: Cost | None = cost
    if tier in CHEAPER_TIERS:
        at_standard = standard.cost(usage) if standard is not None else None
        if at_standard is not None and at_standard.total > cost.total:
            found[tier] = at_standard.total - cost.total
    there = baseline.cost(usage) if baseline is not None else None
    if there is not None and at_standard is not None and there.total > at_standard.total:
        found["smaller_model"] = there.total - at_standard.total
    return found
