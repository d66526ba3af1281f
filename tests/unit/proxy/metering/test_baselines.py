"""What a variant saves against the one that its alias names: gpt-5 at 1.25 and 10, gpt-5-mini at 0.25 and 2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.record import CallRecord
from proxy.metering.baselines import Baseline, baselines
from proxy.metering.complete import price, pricer
from proxy.metering.prices import Prices
from proxy.settings import Model, Price, Settings, Upstream, Variant

AT = 1_795_000_000_000_000_000
BIG = Variant(name="big", model="gpt-5")
SMALL = Variant(name="small", model="gpt-5-mini")
OWN = Variant(name="own", model="own-8b", upstream="house")
OPENAI = Upstream(name="openai", base_url="https://api.openai.com/v1")
HOUSE = Upstream(name="house", base_url="http://127.0.0.1:1/v1", models=("own-*",))
BOT = Model(name="bot", baseline="big", variants=(BIG, SMALL, OWN))
STANDARD = {"bot": Baseline("big", "gpt-5", "openai")}


def record(**fields: Any) -> CallRecord:
    given = {"provider": "openai", "request_model": "gpt-5-mini", "alias": "bot", "variant": "small", **fields}
    return CallRecord(
        request_id="r", trace_id="t", span_id="s", start_ns=AT, end_ns=AT, method="POST", path="/v1/chat/completions",
        **{"outcome": "answered", "input_tokens": 1000, "output_tokens": 100, **given},
    )  # fmt: skip


def saved(baseline: Any = STANDARD, prices: Prices | None = None, **fields: Any) -> dict[str, float]:
    return price(record(**fields), prices or Prices(), baseline).savings


def test_the_difference_of_the_prices_of_the_same_tokens() -> None:
    # 1000 x (1.25 - 0.25) + 100 x (10 - 2)
    assert saved() == pytest.approx({"smaller_model": 1800e-6})


def test_a_free_model_of_ones_own_saves_all_of_it() -> None:
    free = Prices({"own-8b": Price(input=0.0)})
    assert saved(prices=free, provider="", request_model="own-8b", variant="own") == pytest.approx(
        {"smaller_model": 2250e-6}
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"variant": "big", "request_model": "gpt-5"},
        {"variant": "big", "request_model": "gpt-5", "response_model": "gpt-5-mini"},
        {"alias": "", "variant": ""},
        {"alias": "another"},
        {"request_model": "gpt-5-pro"},  # dearer
        {"request_model": "unknown"},
        {"input_tokens": None},
    ],
)
def test_nothing_is_saved_by(fields: dict[str, Any]) -> None:
    assert saved(**fields) == {}


def test_a_baseline_without_a_price_claims_nothing() -> None:
    assert saved({"bot": Baseline("big", "unknown", "")}) == {}


def test_what_was_not_bought_saved_its_own_price_and_no_more() -> None:
    found = saved(cache_status="hit", outcome="cached", savings={"smaller_model": 1.0})
    assert found == pytest.approx({"response_cache": 450e-6})


def test_a_cheaper_tier_is_counted_once() -> None:
    found = saved(service_tier="flex", request_model="gpt-5-mini")
    assert found == pytest.approx({"flex": 225e-6, "smaller_model": 1800e-6})


def test_completing_twice_changes_nothing() -> None:
    once = price(record(), Prices(), STANDARD).savings
    assert price(record(savings=once), Prices(), STANDARD).savings == once


RATES = st.floats(0, 1e4)
CARDS = st.builds(
    lambda a, c, b: Price(input=a, cached=a * c, output=b, tiers={"flex": 0.5}), RATES, st.floats(0, 1), RATES
)


@given(
    CARDS,
    CARDS,
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.integers(0, 10**6),
    st.sampled_from(["", "flex", "priority"]),
)
@settings(max_examples=300, deadline=None)
def test_a_ledger_never_says_more_than_the_dearer_model_would_have_cost(
    own: Price, big: Price, tokens: int, cached: float, output: int, tier: str
) -> None:
    prices = Prices({"own": own, "big": big})
    fields = {"input_tokens": tokens, "output_tokens": output, "service_tier": tier}
    found = price(
        record(**fields, request_model="own", cached_tokens=int(tokens * cached)),
        prices,
        {"bot": Baseline("b", "big", "")},
    )
    if found.cost is None:
        assert found.savings == {}
        return
    plain = {**fields, "service_tier": "", "alias": "", "variant": ""}
    each = [price(record(**plain, request_model=model), prices).cost or 0.0 for model in ("own", "big")]
    assert found.cost + found.savings.get("smaller_model", 0.0) <= max(each) * (1 + 1e-9) + 1e-12
    assert all(one > 0 for one in found.savings.values())


def test_baselines_of_the_settings() -> None:
    given = Settings(
        upstreams=(HOUSE, OPENAI),
        models=(
            BOT,
            Model(name="house", baseline="own", variants=(OWN, SMALL)),
            Model(name="plain", variants=(BIG, SMALL)),
            Model(name="gone", baseline="no", variants=(BIG,)),
        ),
    )
    assert baselines(given) == {
        "bot": Baseline("big", "gpt-5", "openai"),
        "house": Baseline("own", "own-8b", ""),
    }
    assert pricer(given)(record()).savings == pytest.approx({"smaller_model": 1800e-6})
