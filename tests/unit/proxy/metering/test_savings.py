"""Savings by hand, with gpt-5: 1.25 in, 0.125 cached, 10 out; flex half of each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporters.record import CallRecord
from proxy.metering.complete import price
from proxy.metering.prices import Prices
from proxy.settings import Price

AT = 1_795_000_000_000_000_000


def priced(prices: Prices | None = None, **fields: Any) -> CallRecord:
    base: dict[str, Any] = {
        "request_id": "r",
        "trace_id": "t",
        "span_id": "s",
        "start_ns": AT,
        "end_ns": AT,
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": "answered",
        "provider": "openai",
        "request_model": "gpt-5",
        "input_tokens": 1000,
        "output_tokens": 100,
    }
    return price(CallRecord(**{**base, **fields}), prices or Prices())


def test_the_prompt_cache_of_the_provider() -> None:
    # 600 x (1.25 - 0.125)
    assert priced(cached_tokens=600).savings == pytest.approx({"provider_cache": 675e-6})


def test_flex_against_standard() -> None:
    # 1000 x 0.625 + 100 x 5 saved
    assert priced(service_tier="flex").savings == pytest.approx({"flex": 1125e-6})


def test_both_add_up_to_no_more_than_was_saved() -> None:
    found = priced(service_tier="flex", cached_tokens=600)
    # cache at flex rates: 600 x 0.5625; flex on the cached bill: 400 x 0.625 + 600 x 0.0625 + 100 x 5
    assert found.savings == pytest.approx({"provider_cache": 337.5e-6, "flex": 787.5e-6})
    without = priced().cost
    assert without is not None
    assert found.cost is not None
    assert sum(found.savings.values()) <= without - found.cost


def test_a_batch() -> None:
    found = priced(request_model="gpt-4o", batch_id="batch_1", service_tier="default")
    # 1000 x 1.25 + 100 x 5 saved
    assert found.savings == pytest.approx({"batch": 1750e-6})
    assert found.cost == pytest.approx(1750e-6)


def test_priority_is_no_saving() -> None:
    assert priced(service_tier="priority").savings == {}


def test_a_cache_without_a_rate_of_its_own_saves_nothing() -> None:
    assert priced(Prices({"gpt-5": Price(input=1)}), cached_tokens=600).savings == {}


def test_what_was_cut_off_would_at_least_have_been_read_from_the_cache() -> None:
    # 400 x 0.125, and the half of it for flex
    assert priced(pruned_tokens=400).savings == pytest.approx({"pruning": 50e-6})
    assert priced(pruned_tokens=400, service_tier="flex").savings["pruning"] == pytest.approx(25e-6)
    free = Prices({"gpt-5": Price(input=1, cached=0)})
    assert priced(free, pruned_tokens=400).savings == {}


def test_what_others_saved_stays() -> None:
    assert priced(cached_tokens=600, savings={"local_cache": 1.0}).savings == pytest.approx(
        {"local_cache": 1.0, "provider_cache": 675e-6}
    )


def test_the_longer_context_is_dearer_and_so_is_what_its_cache_saves() -> None:
    # gpt-5.6-sol above 272k tokens: 100,000 x (8 - 0.80)
    found = priced(request_model="gpt-5.6-sol", input_tokens=300_000, cached_tokens=100_000)
    assert found.savings == pytest.approx({"provider_cache": 0.72})


@pytest.mark.parametrize(
    ("status", "strategy"), [("hit", "response_cache"), ("semantic", "response_cache"), ("coalesced", "coalescing")]
)
@pytest.mark.parametrize("outcome", ["cached", "answered", "abandoned", "cut"])
def test_what_was_not_bought_is_saved_whole(status: str, strategy: str, outcome: str) -> None:
    found = priced(cache_status=status, outcome=outcome)
    assert costs(found) == (0.0,) * 5
    # 1000 x 1.25 + 100 x 10
    assert found.savings == pytest.approx({strategy: 2250e-6})


def test_it_would_have_been_bought_at_the_tier_and_with_the_cache_of_the_reply() -> None:
    found = priced(cache_status="hit", outcome="cached", service_tier="flex", cached_tokens=600)
    assert found.savings == pytest.approx({"response_cache": (400 * 0.625 + 600 * 0.0625 + 100 * 5) / 1e6})


@pytest.mark.parametrize("status", ["miss", "bypass", ""])
def test_what_was_bought_is_paid_for(status: str) -> None:
    found = priced(cache_status=status, cached_tokens=600)
    assert found.cost == pytest.approx((400 * 1.25 + 600 * 0.125 + 100 * 10) / 1e6)
    assert found.savings == pytest.approx({"provider_cache": 675e-6})


@pytest.mark.parametrize(
    "fields", [{"provider": ""}, {"service_tier": "scale"}, {"input_tokens": None, "output_tokens": None}]
)
def test_nothing_is_claimed_where_the_price_is_not_known(fields: dict[str, Any]) -> None:
    found = priced(cache_status="coalesced", outcome="cached", **fields)
    assert costs(found) == (0.0,) * 5
    assert found.savings == {}


def test_what_a_free_model_would_have_cost_is_no_saving() -> None:
    assert priced(Prices({"gpt-5": Price(input=0)}), cache_status="hit", outcome="cached").savings == {}


def test_a_cached_price_that_was_counted_before_is_not_counted_on_top() -> None:
    before = {"provider_cache": 1.0, "flex": 1.0, "pruning": 1.0, "output_limit": 0.5}
    found = priced(cache_status="hit", outcome="cached", savings=before, pruned_tokens=400)
    assert found.savings == pytest.approx({"output_limit": 0.5, "response_cache": 2250e-6})


def test_without_the_cache_more_of_the_input_would_have_been_images() -> None:
    """1000 tokens, 600 of them cached, 500 of them audio: 400 of audio were paid, and 500 of it without the cache."""
    own = Prices({"own": Price(input=1, cached=0.5, output=0, input_audio=10)})
    found = priced(own, request_model="own", cached_tokens=600, input_audio_tokens=500)
    assert found.cost == pytest.approx((400 * 10 + 600 * 0.5) / 1e6)
    assert found.savings == pytest.approx({"provider_cache": (500 * 10 + 500 * 1 - 400 * 10 - 600 * 0.5) / 1e6})


def costs(found: CallRecord) -> tuple[float | None, ...]:
    return found.cost, found.cost_input, found.cost_cached, found.cost_cache_write, found.cost_output


TOKENS = st.none() | st.integers(-5, 300_000)
RATES = st.floats(0, 1e4)
MODELS = st.sampled_from(["gpt-5", "gpt-5-mini", "gpt-4o", "gpt-5.6-sol", "gpt-4o-audio-preview", "own", "unknown"])
CALLS = st.fixed_dictionaries(
    {
        "request_model": MODELS,
        "input_tokens": TOKENS,
        "output_tokens": TOKENS,
        "cached_tokens": TOKENS,
        "cache_write_tokens": st.none() | st.integers(-5, 5000),
        "input_audio_tokens": st.none() | st.integers(-5, 5000),
        "input_image_tokens": st.none() | st.integers(-5, 5000),
        "reasoning_tokens": TOKENS,
        "pruned_tokens": st.integers(0, 5000),
        "cache_status": st.sampled_from(["", "miss", "bypass", "hit", "semantic", "coalesced"]),
        "outcome": st.sampled_from(["answered", "cached", "abandoned", "cut"]),
        "service_tier": st.sampled_from(["", "default", "flex", "priority", "scale"]),
        "batch_id": st.sampled_from(["", "batch_1"]),
    }
)


def _own(rate: float, cached: float | None, output: float, audio: float | None) -> Price:
    share = None if cached is None else rate * cached
    if audio is not None:
        audio += rate if share is None else share
    return Price(input=rate, output=output, cached=share, input_audio=audio, tiers={"flex": 0.5, "batch": 0.5})


OWN = st.builds(_own, RATES, st.none() | st.floats(0, 1), RATES, st.none() | RATES)
"""No provider reads its cache at a higher price than the input, be it text or audio."""


def _with_the_text_cut_off(fields: dict[str, Any]) -> dict[str, Any]:
    """The input as it was before: longer, but with no more audio and images than were billed."""
    sent = fields["input_tokens"]
    if sent is None:
        return {}
    uncached = sent - (fields["cached_tokens"] or 0) - (fields["cache_write_tokens"] or 0)
    audio = min(fields["input_audio_tokens"] or 0, uncached)
    image = min(fields["input_image_tokens"] or 0, uncached - audio)
    longer = sent + fields["pruned_tokens"]
    return {"input_tokens": longer, "input_audio_tokens": audio, "input_image_tokens": image}


@given(CALLS, OWN)
@settings(max_examples=400, deadline=None)
@example(
    {
        **dict.fromkeys(("cached_tokens", "cache_write_tokens", "input_image_tokens", "reasoning_tokens"), None),
        **dict.fromkeys(("cache_status", "service_tier", "batch_id"), ""),
        "request_model": "gpt-5",
        "input_tokens": 0,
        "output_tokens": 0,
        "input_audio_tokens": 1,
        "outcome": "answered",
        "pruned_tokens": 1,
    },
    Price(input=1.0),
)
@example(
    {
        **dict.fromkeys(("cache_write_tokens", "input_image_tokens", "reasoning_tokens"), None),
        **dict.fromkeys(("cache_status", "service_tier"), ""),
        "request_model": "gpt-5",
        "input_tokens": 1,
        "output_tokens": 0,
        "cached_tokens": 1,
        "input_audio_tokens": 1,
        "outcome": "answered",
        "batch_id": "batch_1",
        "pruned_tokens": 0,
    },
    Price(input=1.0),
)
def test_a_ledger_never_says_more_than_was_saved(fields: dict[str, Any], own: Price) -> None:
    prices = Prices({"own": own})
    found = priced(prices, **fields)
    plain = {**fields, "cached_tokens": None, "cache_status": "", "outcome": "answered", "batch_id": ""}
    plain |= _with_the_text_cut_off({**fields, "cached_tokens": None})
    tier = "" if fields["batch_id"] or fields["service_tier"] == "flex" else fields["service_tier"]
    without = priced(prices, **{**plain, "service_tier": tier}).cost
    saved = sum(found.savings.values())
    assert all(one > 0 for one in found.savings.values())
    if found.cost is None:
        assert found.savings == {}
        return
    assert found.cost >= 0
    if found.savings and without is None:
        # There is no price for audio that is not read from the cache, so that nothing is claimed for that.
        assert "provider_cache" not in found.savings
        cached = {**plain, "cached_tokens": fields["cached_tokens"], **_with_the_text_cut_off(fields)}
        without = priced(prices, **{**cached, "service_tier": tier}).cost
    if found.savings:
        assert without is not None
        assert found.cost + saved <= without * (1 + 1e-9)
    if found.reused:
        assert found.cost == 0.0
        assert set(found.savings) <= {"response_cache", "coalescing"}
    assert priced(prices, **{**fields, "savings": found.savings}).savings == found.savings
