"""What a call of a model costs by its tokens, for commands that say it before anything is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..metering.prices import Prices, provider_for
from ..settings import Settings


@dataclass(frozen=True)
class _Usage:
    """Of a call that reads nothing from a cache."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None


def price_of(settings: Settings, model: str, *, waits: bool) -> Callable[[int, int], float | None]:
    """What a call of `model` costs today by its tokens, at the batch tier if it `waits`; None: not known."""
    provider = provider_for(settings.upstreams, model)
    card = Prices(settings.prices).card(provider, model, "batch" if waits else "", time.time_ns())

    def price(input_tokens: int, output_tokens: int) -> float | None:
        cost = card.cost(_Usage(input_tokens, output_tokens)) if card else None
        return cost.total if cost else None

    return price
