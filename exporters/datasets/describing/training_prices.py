"""What it would cost to train on a dataset: at providers that state a price a token, and in hours on one's own device.

Prices are in USD per million tokens of the training file, for supervised fine-tuning (LoRA where the provider has
both); every token is paid once an epoch. Each is of the year beside it and may have changed: look before you buy.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

EPOCHS: Final = 3
"""What providers take for a dataset of middle size where nothing is asked for."""

UTILISATION: Final = 0.35
"""Part of a device's peak that a LoRA run keeps busy: 0.3 to 0.4 with packed sequences and fused attention."""
FLOPS_A_PARAMETER: Final = 6
"""Floating-point operations per parameter and token: 2 forward, 2 back through the activations, 2 to compute them
again (gradient checkpointing). Weights that are frozen need no gradients; with them, and without checkpointing, it
would be 6 as well (Kaplan et al. 2020, section 2.1)."""
FORMULA: Final = "hours = epochs x tokens x 6 x parameters / (peak FLOP/s x utilisation) / 3600"
MEMORY_FACTOR: Final = 1.25
"""Weights, and a quarter more for adapter, optimizer and activations."""


class Hosted(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider."""

    provider: str
    model: str
    usd: float
    """For all epochs."""
    epochs: int
    usd_a_million: float
    as_of: str
    """The year, or a date in ISO 8601, of which the price is known."""
    note: str = ""


class Lora(msgspec.Struct, frozen=True, kw_only=True):
    """One size of model on one device."""

    model: str
    device: str
    method: Literal["lora", "qlora"]
    """qlora: the weights fit into the device's memory only with 4 bits each."""
    hours: float


class OwnDevice(msgspec.Struct, frozen=True, kw_only=True):
    formula: str
    utilisation: float
    estimates: list[Lora]


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """Of the split `train`."""

    tokens: int
    """Of one epoch."""
    epochs: int
    hosted: list[Hosted]
    lora: OwnDevice


class Price(msgspec.Struct, frozen=True):
    """Of training, at one provider. `as_of` and `note`: as in `Hosted`."""

    provider: str
    model: str
    usd_a_million: float
    as_of: str
    note: str = ""


_CLOSING: Final = "no new jobs from 2027-01-06; the model and its fine-tunes stop on 2027-01-14"

PRICES: Final = (
    # OpenAI, platform pricing page, "Fine-tuning"; dates: its deprecations page.
    Price("OpenAI", "gpt-4.1", 25.0, "2025", _CLOSING),
    Price("OpenAI", "gpt-4.1-mini", 5.0, "2025", _CLOSING),
    Price("OpenAI", "gpt-4.1-nano", 1.5, "2025", "no new jobs from 2027-01-06"),
    Price("OpenAI", "gpt-4o-mini", 3.0, "2025", _CLOSING),
    # Fireworks, pricing page, "Fine tuning": by parameters of the base model.
    Price("Fireworks", "up to 16B", 0.5, "2025"),
    Price("Fireworks", "16B to 80B", 3.0, "2025"),
    # Together, pricing page, "Fine-tuning": supervised, LoRA, by parameters.
    Price("Together", "up to 16B", 0.48, "2025"),
    Price("Together", "17B to 69B", 1.5, "2025"),
    Price("Together", "70B to 100B", 2.9, "2025"),
)

_SIZES: Final = (("1B", 1e9), ("8B", 8e9), ("32B", 32e9))
_DEVICES: Final = (
    # Peak dense BF16 FLOP/s and memory in bytes, from NVIDIA's data sheets.
    ("RTX 4090", 165e12, 24e9),
    ("A100 80GB", 312e12, 80e9),
    ("H100 SXM", 989e12, 80e9),
)


def training(tokens: int, epochs: int = EPOCHS) -> Training:
    """What `tokens` cost, times `epochs`. What does not fit on a device is not listed for it."""
    return Training(
        tokens=tokens,
        epochs=epochs,
        hosted=[
            Hosted(
                provider=price.provider,
                model=price.model,
                usd=round(tokens * epochs * price.usd_a_million / 1e6, 2),
                epochs=epochs,
                usd_a_million=price.usd_a_million,
                as_of=price.as_of,
                note=price.note,
            )
            for price in PRICES
        ],
        lora=OwnDevice(formula=FORMULA, utilisation=UTILISATION, estimates=_estimates(tokens, epochs)),
    )


def lasts(hours: float) -> str:
    """Roughly."""
    if hours * 60 < 1:
        return "under a minute"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:,.1f} h"


def _estimates(tokens: int, epochs: int) -> list[Lora]:
    found = []
    for model, parameters in _SIZES:
        for device, flops, memory in _DEVICES:
            method: Literal["lora", "qlora"] = "lora" if 2 * parameters * MEMORY_FACTOR <= memory else "qlora"
            if parameters / 2 * MEMORY_FACTOR > memory:
                continue
            seconds = epochs * tokens * FLOPS_A_PARAMETER * parameters / (flops * UTILISATION)
            found.append(Lora(model=model, device=device, method=method, hours=round(seconds / 3600, 3)))
    return found
