"""Rate cards: what one model costs at one tier and moment, and the arithmetic from usage to cost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, Protocol

from genai_prices.types import ModelPrice, TieredPrices

from ..settings import Price

MILLION = 1_000_000


class Usage(Protocol):
    """Tokens as `CallRecord` has them: input includes cached and written, output includes reasoning."""

    @property
    def input_tokens(self) -> int | None: ...
    @property
    def cached_tokens(self) -> int | None: ...
    @property
    def cache_write_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def reasoning_tokens(self) -> int | None: ...
    @property
    def input_audio_tokens(self) -> int | None: ...
    @property
    def output_audio_tokens(self) -> int | None: ...
    @property
    def input_image_tokens(self) -> int | None: ...


class Cost(NamedTuple):
    """USD. `total` is the sum of the classes. Audio and image tokens are inside `input` and `output`, each at its own
    rate; a fee per request is inside `input`."""

    total: float
    input: float
    cached: float
    cache_write: float
    output: float


class Rates(NamedTuple):
    """USD per token. None: there is no such rate, and a call that used such tokens has no known price."""

    input: float
    output: float | None
    cached: float
    cache_write: float
    input_audio: float | None
    output_audio: float | None
    input_image: float
    reasoning: float | None
    per_request: float = 0.0
    """USD for each request."""


class RateCard:
    """The rates of one model. `steps` are those of longer inputs: from more than `start` input tokens (cached ones
    counted) every token of the call costs the step's rate, which is how all providers on the list bill."""

    __slots__ = ("base", "steps")

    def __init__(self, base: Rates, steps: tuple[tuple[int, Rates], ...] = ()) -> None:
        self.base = base
        self.steps = steps

    def rates(self, input_tokens: int) -> Rates:
        """The rates of a call with so many input tokens."""
        rates = self.base
        for start, step in self.steps:
            if input_tokens <= start:
                break
            rates = step
        return rates

    def cost(self, usage: Usage) -> Cost | None:
        """None when the usage is incomplete, cannot be true (more cached than sent), or has tokens without a rate.

        Cached and written tokens are taken to be text before audio and images, since replies do not split them.
        """
        sent = usage.input_tokens
        if sent is None:
            return None
        rates = self.rates(sent) if self.steps else self.base
        received = usage.output_tokens
        if received is None:
            # An embedding has no output; a chat without a count of it is only half metered.
            if rates.output:
                return None
            received = 0
        cached = usage.cached_tokens or 0
        written = usage.cache_write_tokens or 0
        uncached = sent - cached - written
        if uncached < 0 or cached < 0 or written < 0 or received < 0:
            return None
        cost_input = _input_cost(rates, usage, uncached)
        cost_output = _output_cost(rates, usage, received)
        if cost_input is None or cost_output is None:
            return None
        cost_cached = cached * rates.cached
        cost_write = written * rates.cache_write
        total = cost_input + cost_cached + cost_write + cost_output
        return Cost(total, cost_input, cost_cached, cost_write, cost_output)

    def saved_by_cache(self, usage: Usage) -> float:
        """USD that the input would have cost more, had none of it been read from a cache; 0.0 when that is not known.

        Without the cache more of the input may be audio or images, each at its own rate. A negative result: the cache
        is dearer than what it spares.
        """
        cached = usage.cached_tokens or 0
        uncached = (usage.input_tokens or 0) - cached - (usage.cache_write_tokens or 0)
        if uncached < 0 or cached < 0:
            return 0.0
        rates = self.rates(usage.input_tokens or 0)
        saved = cached * (rates.input - rates.cached)
        _, audio, image = _split(usage, uncached)
        _, audio_without, image_without = _split(usage, uncached + cached)
        if audio_without > audio:
            if rates.input_audio is None:
                return 0.0
            saved += (audio_without - audio) * (rates.input_audio - rates.input)
        return saved + (image_without - image) * (rates.input_image - rates.input)


def _split(usage: Usage, uncached: int) -> tuple[int, int, int]:
    """Text, audio and image tokens of the input that is billed uncached."""
    audio = max(0, min(usage.input_audio_tokens or 0, uncached))
    image = max(0, min(usage.input_image_tokens or 0, uncached - audio))
    return uncached - audio - image, audio, image


def _input_cost(rates: Rates, usage: Usage, uncached: int) -> float | None:
    given_audio = usage.input_audio_tokens or 0
    given_image = usage.input_image_tokens or 0
    if not given_audio and not given_image:
        return uncached * rates.input + rates.per_request
    if given_audio < 0 or given_image < 0:
        return None
    text, audio, image = _split(usage, uncached)
    if audio and rates.input_audio is None:
        return None
    return text * rates.input + audio * (rates.input_audio or 0.0) + image * rates.input_image + rates.per_request


def _output_cost(rates: Rates, usage: Usage, received: int) -> float | None:
    if not received:
        return 0.0
    if rates.output is None:
        return None
    audio = usage.output_audio_tokens or 0
    if not audio and rates.reasoning is None:
        return received * rates.output
    audio = max(0, min(audio, received))
    if audio and rates.output_audio is None:
        return None
    reasoning = max(0, min(usage.reasoning_tokens or 0, received - audio)) if rates.reasoning is not None else 0
    text = received - audio - reasoning
    return text * rates.output + audio * (rates.output_audio or 0.0) + reasoning * (rates.reasoning or 0.0)


def card_from_list(price: ModelPrice, *, audio_is_text: bool) -> RateCard | None:
    """The card of an entry of the bundled list; None when it is not priced by tokens.

    A class without a rate of its own costs what its parent costs, which is the list's own rule. `audio_is_text` says
    whether that goes for audio too.
    """
    values: dict[str, Decimal | TieredPrices] = {k: v for k, v in price.__dict__.items() if v is not None}
    if "input_mtok" not in values:
        return None
    starts = {tier.start for value in values.values() if isinstance(value, TieredPrices) for tier in value.tiers}

    def rates(input_tokens: int) -> Rates:
        return _rates({key: _at(value, input_tokens) for key, value in values.items()}, audio_is_text)

    return RateCard(rates(0), tuple((start, rates(start + 1)) for start in sorted(starts)))


def _at(value: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    if not isinstance(value, TieredPrices):
        return value
    price = value.base
    for tier in value.tiers:
        if input_tokens > tier.start:
            price = tier.price
    return price


def _rates(values: Mapping[str, Decimal], audio_is_text: bool) -> Rates:
    per_token = {key: float(value / MILLION) for key, value in values.items()}
    text = per_token["input_mtok"]
    output = per_token.get("output_mtok")
    return Rates(
        input=text,
        output=output,
        cached=per_token.get("cache_read_mtok", text),
        cache_write=per_token.get("cache_write_mtok", text),
        input_audio=per_token.get("input_audio_mtok", text if audio_is_text else None),
        output_audio=per_token.get("output_audio_mtok", output if audio_is_text else None),
        input_image=per_token.get("input_image_mtok", text),
        reasoning=per_token.get("output_reasoning_mtok"),
        per_request=float(values.get("requests_kcount", Decimal(0)) / 1000),
    )


def card_from_price(price: Price, factor: float = 1.0) -> RateCard:
    """The card of an override; `factor` is that of the tier."""
    unit = factor / MILLION

    def rate(value: float | None, absent: float) -> float:
        return (absent if value is None else value) * unit

    return RateCard(
        Rates(
            input=price.input * unit,
            output=price.output * unit,
            cached=rate(price.cached, price.input),
            cache_write=rate(price.cache_write, price.input),
            input_audio=rate(price.input_audio, price.input),
            output_audio=rate(price.output_audio, price.output),
            input_image=price.input * unit,
            reasoning=None,
        )
    )
