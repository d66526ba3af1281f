"""Which models have a point, on which day."""

from __future__ import annotations

from datetime import date

import pytest

from finetune.hosting.eligibility import NEW_JOBS_UNTIL, Listed, base_of, is_openai, objection
from finetune.hosting.pricing import Rate, price, said

BEFORE = date(2026, 1, 1)
NOW = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("model", "today", "says"),
    [
        ("gpt-4.1-mini-2025-04-14", BEFORE, ""),
        ("gpt-4.1-mini-2025-04-14", NOW, "stop on 2027-01-14, in 52 days."),
        ("ft:gpt-4.1-mini-2025-04-14:us::abc", NOW, "stop on 2027-01-14, in 52 days."),
        ("gpt-4.1-mini", date(2027, 1, 5), "in 9 days."),
        ("gpt-4.1-nano", NOW, ""),
        ("gpt-4.1-nano", date(2027, 1, 5), ""),
        ("gpt-4.1-nano", NEW_JOBS_UNTIL, "OpenAI begins no training any more since 2027-01-06."),
        ("gpt-5", NOW, "OpenAI does not train gpt-5; it trains gpt-4.1, gpt-4.1-mini,"),
        ("o4-mini", NOW, "OpenAI does not train o4-mini"),
        ("gpt-oss-20b", NOW, ""),
        ("meta-llama/Llama-3.1-8B-Instruct", NOW, ""),
    ],
)
def test_openais_dates(model: str, today: date, says: str) -> None:
    found = objection(model, None, today)
    assert says in found
    assert bool(found) == bool(says)


def test_a_cloud_with_dates_of_its_own() -> None:
    assert objection("gpt-4.1-mini", None, NOW, "us.openai.azure.com:443") == ""
    assert objection("gpt-4.1-mini", None, NOW, "127.0.0.1:4100")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Listed(), ""),
        (Listed(shutdown="2026-11-23"), "house-1 stopped on 2026-11-23."),
        (Listed(shutdown="2026-11-24T00:00:00Z"), "in 1 day."),
        (Listed(shutdown="2027-02-20"), "in 89 days."),
        (Listed(shutdown="2027-02-21"), ""),
        (Listed(shutdown="some day"), ""),
        (Listed(shutdown="0000-00-00"), ""),
        (Listed(shutdown="2026-13-45"), ""),
        (Listed(trainable=False), "house-1 is not trained there"),
        (Listed(trainable=True), ""),
    ],
)
def test_what_the_list_of_models_says(entry: Listed, says: str) -> None:
    found = objection("house-1", {"house-1": entry}, NOW)
    assert says in found
    assert bool(found) == bool(says)


def test_a_model_that_is_not_there() -> None:
    found = objection("house-2", {"house-1": Listed(), "whisper": Listed()}, NOW)
    assert found == "house-2 is not among the models there: house-1 is near."


@pytest.mark.parametrize(
    ("model", "base"),
    [("gpt-4o-2024-08-06", "gpt-4o"), ("ft:gpt-4.1-nano-2025-04-14:us:sup:id", "gpt-4.1-nano"), ("gpt-4o", "gpt-4o")],
)
def test_the_base_of_a_name(model: str, base: str) -> None:
    assert base_of(model) == base
    assert is_openai(model)


def test_prices() -> None:
    rate = Rate(usd_a_million=25.0, as_of="2025")
    assert price(1_000_000, 2, rate).usd == 50.0
    assert said(price(1_000_000, None, rate), "m") == (
        "1,000,000 tokens, 3 epochs if the provider takes as many: about $75.00 at the list price of 2025."
    )
    assert said(price(1000, 1, rate), "m").endswith("about $0.0250 at the list price of 2025.")
    assert price(1_000_000, 1, None).usd is None
    assert said(price(10, 1, None), "house-1") == "10 tokens, 1 epoch: price unknown for house-1."
    assert said(price(10, 1, Rate(usd_a_million=0.0, as_of="")), "m") == "10 tokens, 1 epoch: about $0.00."
