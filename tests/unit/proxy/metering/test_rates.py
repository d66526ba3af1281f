"""Our arithmetic against that of genai-prices, for every model and tier on its list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, Provider, Usage
from hypothesis import given
from hypothesis import strategies as st

from exporters.record import CallRecord
from proxy.metering.rates import RateCard, Rates, card_from_list, card_from_price
from proxy.settings import Price

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def used(**tokens: int) -> CallRecord:
    return CallRecord(
        request_id="r",
        trace_id="t",
        span_id="s",
        start_ns=0,
        end_ns=0,
        method="POST",
        path="/",
        outcome="answered",
        **tokens,
    )


def priced_by_tokens() -> Iterator[tuple[Provider, ModelInfo, ModelPrice]]:
    for provider in providers:
        for model in provider.models:
            contexts = [{}, *[variant.when for variant in model.price_variants or ()]]
            for context in contexts:
                prices = model.get_prices(AT, context)
                if prices.input_mtok is not None and prices.output_mtok is not None:
                    yield provider, model, prices


@pytest.mark.parametrize(
    "tokens",
    [
        (1000, 0, 0, 100, 0),
        (1000, 300, 0, 100, 60),
        (1000, 300, 200, 100, 0),
        (250_000, 7, 0, 9, 9),
        (900_000, 1, 2, 3, 0),
    ],
)
def test_the_whole_list(tokens: tuple[int, int, int, int, int]) -> None:
    sent, cached, written, received, reasoning = tokens
    usage = Usage(
        input_tokens=sent,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=received,
        output_reasoning_tokens=reasoning,
    )
    ours = used(
        input_tokens=sent,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=received,
        reasoning_tokens=reasoning,
    )
    compared = 0
    for provider, model, prices in priced_by_tokens():
        card = card_from_list(prices, audio_is_text=True)
        assert card is not None
        cost = card.cost(ours)
        assert cost is not None
        theirs = float(prices.calc_price(usage)["total_price"])
        assert cost.total == pytest.approx(theirs, rel=1e-9), (provider.id, model.id)
        compared += 1
    assert compared > 2000


CLASSES = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "input_image_tokens",
)


@given(
    tokens=st.fixed_dictionaries({}, optional=dict.fromkeys(CLASSES, st.integers(-5, 1000))),
    steps=st.lists(st.integers(0, 1000), max_size=3, unique=True),
)
def test_a_cost_is_whole_and_the_sum_of_its_classes(tokens: dict[str, int], steps: list[int]) -> None:
    """Whatever counts a reply claims: a cost that adds up, or none."""
    usage = used(**tokens)
    rates = Rates(1e-6, 2e-6, 1e-7, 1.25e-6, 3e-6, 4e-6, 1e-6, 2e-6)
    card = RateCard(rates, tuple((start, rates._replace(input=2e-6)) for start in sorted(steps)))
    cost = card.cost(usage)
    if cost is not None:
        assert all(part >= 0 for part in cost)
        assert cost.total == pytest.approx(sum(cost[1:]))


def test_more_input_never_costs_less() -> None:
    card = card_from_price(Price(input=2, output=8, cached=1))
    costs = [card.cost(used(input_tokens=n, output_tokens=1)) for n in range(0, 1000, 50)]
    totals = [cost.total for cost in costs if cost]
    assert totals == sorted(totals)
    assert len(totals) == 20


def test_reasoning_with_a_rate_of_its_own() -> None:
    card = card_from_list(
        ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(8), output_reasoning_mtok=Decimal(3)), audio_is_text=True
    )
    assert card is not None
    cost = card.cost(used(input_tokens=0, output_tokens=100, reasoning_tokens=60, output_audio_tokens=10))
    # 10 audio x 8 + 60 reasoning x 3 + 30 x 8
    assert cost is not None
    assert cost.output == pytest.approx((80 + 180 + 240) / 1e6)


def test_audio_and_images_share_what_was_not_cached() -> None:
    rates = Rates(1e-6, None, 1e-7, 1e-6, 10e-6, None, 5e-6, None)
    # 100 sent, 40 cached: 50 audio and the 10 left of the 30 image tokens
    cost = RateCard(rates).cost(used(input_tokens=100, cached_tokens=40, input_audio_tokens=50, input_image_tokens=30))
    assert cost is not None
    assert cost.input == pytest.approx((500 + 50) / 1e6)
    assert cost.cached == pytest.approx(4e-6)


def test_what_is_not_priced_by_tokens_has_no_card() -> None:
    assert card_from_list(ModelPrice(input_mchars=Decimal(15)), audio_is_text=True) is None
