"""What each way is expected to cost, in USD and hours, by formulas that are said and prices that carry their year."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from .machine import Machine
from .measures import Measures

Price = Callable[[str, int, int], float | None]
"""What a call of a model costs in USD by its tokens in and out; None where that is not known."""


class TrainingPrice(Protocol):
    """Of supervised training at a provider; of the year `as_of`."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def usd_a_million(self) -> float: ...
    @property
    def as_of(self) -> str: ...
    @property
    def note(self) -> str: ...


EPOCHS: Final = 3
FLOPS_A_PARAMETER: Final = 6
"""A parameter and token: 2 forward, 2 back, 2 for activations that are computed again (Kaplan et al. 2020, 2.1)."""
UTILISATION: Final = 0.35
"""Part of the peak that a LoRA run keeps busy: 0.3 to 0.4 with packed sequences and fused attention."""
MEMORY_FACTOR: Final = 1.25
"""Weights, and a quarter more for adapter, optimizer and activations."""
FORMULA: Final = "hours = epochs x tokens x 6 x parameters / (peak FLOP/s x 0.35) / 3600"
CALLS: Final = 1_000


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """At a provider: epochs x tokens x price. Supervised, LoRA where there is a choice."""

    provider: str
    model: str
    usd: float
    usd_a_million: float
    as_of: str
    note: str = ""


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """On one's own device, by `FORMULA`."""

    parameters: str
    device: str
    method: Literal["lora", "qlora"]
    """qlora: the weights fit into the device's memory only with 4 bits each."""
    hours: float
    measured: bool = False
    """Whether the device's speed was measured now."""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """A thousand calls of the dataset's mean length."""

    what: str
    model: str
    input_tokens: int
    """Of one call."""
    output_tokens: int
    usd: float | None
    """None: the price is not known."""
    as_of: str


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    epochs: int
    formula: str
    hosted: list[Training]
    own: list[Hours]
    calls: list[Calls]
    pays_after: int | None
    """Calls after which the cheapest training is paid by what the tuned model saves; None: never, or not known."""


SERVED: Final = ("an 8B", 0.18, "2025")
"""USD per million tokens, in and out, of Llama 3.1 8B at Together: what a small tuned model costs where LoRA adapters
are served by the token at the price of their base."""
SIZES: Final = (("1B", 1e9), ("8B", 8e9), ("32B", 32e9))
DEVICES: Final = (
    # Peak dense BF16 FLOP/s and memory in bytes, from NVIDIA's data sheets.
    ("RTX 4090", 165e12, 24e9),
    ("A100 80GB", 312e12, 80e9),
    ("H100 SXM", 989e12, 80e9),
)


def costs(
    measures: Measures,
    *,
    model: str,
    price: Price,
    training: Sequence[TrainingPrice],
    few_shot_tokens: int,
    here: Machine | None,
) -> Costs:
    """`model`: the one that answered most of the examples, "" where nobody knows. `training`: one price at least.
    `few_shot_tokens`: that a prompt with examples adds to each call."""
    tokens = measures.tokens
    prompt, answer = round(tokens.prompt.mean), round(tokens.answer.mean)
    shorter = max(0, prompt - round(measures.static.tokens))
    hosted = [
        Training(
            provider=one.provider,
            model=one.model,
            usd=round(EPOCHS * tokens.train * one.usd_a_million / 1e6, 2),
            usd_a_million=one.usd_a_million,
            as_of=one.as_of,
            note=one.note,
        )
        for one in training
    ]
    served, usd_a_million, as_of = SERVED
    small = (shorter + answer) * CALLS * usd_a_million / 1e6
    calls = [
        _calls("as it is", model, prompt, answer, price),
        _calls("with examples in the prompt", model, prompt + few_shot_tokens, answer, price),
        Calls(
            what="small and tuned, without the static prompt",
            model=served,
            input_tokens=shorter,
            output_tokens=answer,
            usd=small,
            as_of=as_of,
        ),
    ]
    return Costs(
        epochs=EPOCHS,
        formula=FORMULA,
        hosted=hosted,
        own=hours(tokens.train, here),
        calls=calls,
        pays_after=pays_after(min(one.usd for one in hosted), calls[0].usd, small),
    )


def hours(tokens: int, here: Machine | None) -> list[Hours]:
    """`tokens` of one epoch. What does not fit on a device is not listed for it."""
    devices = [(name, flops, memory, False) for name, flops, memory in DEVICES]
    if here is not None:
        devices.insert(0, (here.device, here.flops, here.memory or float("inf"), here.measured))
    found = []
    for size, parameters in SIZES:
        for name, flops, memory, measured in devices:
            if parameters / 2 * MEMORY_FACTOR > memory:
                continue
            method: Literal["lora", "qlora"] = "lora" if 2 * parameters * MEMORY_FACTOR <= memory else "qlora"
            seconds = EPOCHS * tokens * FLOPS_A_PARAMETER * parameters / (flops * UTILISATION)
            found.append(
                Hours(parameters=size, device=name, method=method, hours=round(seconds / 3600, 4), measured=measured)
            )
    return found


def pays_after(training_usd: float, now_usd: float | None, tuned_usd: float) -> int | None:
    """Calls, rounded up; the two others are prices of a thousand."""
    if now_usd is None or now_usd <= tuned_usd:
        return None
    return -int(-training_usd * CALLS // (now_usd - tuned_usd))


def _calls(what: str, model: str, input_tokens: int, output_tokens: int, price: Price) -> Calls:
    one = price(model, input_tokens, output_tokens) if model else None
    return Calls(
        what=what,
        model=model,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        usd=None if one is None else one * CALLS,
        as_of="today's list",
    )
