"""What a training at a provider is expected to cost. Where no price is known it is unknown, never nothing."""

from __future__ import annotations

from typing import Final

import msgspec

EPOCHS: Final = 3
"""What providers take for a dataset of middle size where nothing is asked for."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A price of training."""

    usd_a_million: float
    """Tokens of the file, once an epoch."""
    as_of: str
    """The year or date of which it is known; "" when somebody said it himself."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Of one job."""

    tokens: int
    """Of the training file; the validation file is not paid for."""
    epochs: int
    usd: float | None
    as_of: str = ""
    epochs_chosen: bool = True
    """False: the provider chooses them, and this is a guess."""


def price(tokens: int, epochs: int | None, rate: Rate | None) -> Price:
    """For `tokens` of one epoch."""
    times = epochs or EPOCHS
    return Price(
        tokens=tokens,
        epochs=times,
        usd=None if rate is None else tokens * times * rate.usd_a_million / 1e6,
        as_of="" if rate is None else rate.as_of,
        epochs_chosen=epochs is not None,
    )


def said(found: Price, model: str) -> str:
    """For the eye."""
    about = f"{found.tokens:,} tokens, {found.epochs} {'epoch' if found.epochs == 1 else 'epochs'}"
    if not found.epochs_chosen:
        about += " if the provider takes as many"
    if found.usd is None:
        return f"{about}: price unknown for {model}."
    of = f" at the list price of {found.as_of}" if found.as_of else ""
    usd = f"{found.usd:.2f}" if found.usd >= 1 or not found.usd else f"{found.usd:.4f}"
    return f"{about}: about ${usd}{of}."
