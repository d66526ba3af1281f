"""Savings by hand, with gpt-5: 1.25 in, 0.125 cached, 10 out; flex half of each."""

from __future__ import annotations

from typing import Any

import pytest

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


def test_what_others_saved_stays() -> None:
    assert priced(cached_tokens=600, savings={"local_cache": 1.0}).savings == pytest.approx(
        {"local_cache": 1.0, "provider_cache": 675e-6}
    )


def test_the_longer_context_is_dearer_and_so_is_what_its_cache_saves() -> None:
    # gpt-5.6-sol above 272k tokens: 100,000 x (8 - 0.80)
    found = priced(request_model="gpt-5.6-sol", input_tokens=300_000, cached_tokens=100_000)
    assert found.savings == pytest.approx({"provider_cache": 0.72})
