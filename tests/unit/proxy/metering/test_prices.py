"""Golden prices: each cost is computed by hand from the published rates, in the comment beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, TimeOfDateConstraint

from proxy.metering.prices import CARDS_MAX, QUARTER_NS, Prices, provider_of
from proxy.metering.rates import Cost
from proxy.settings import Price


class Tokens(NamedTuple):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[arg-type,misc]


NOW = ns(2026, 11, 20, 12)


def cost(model: str, used: Tokens, tier: str = "", provider: str = "openai", at: int = NOW) -> Cost | None:
    card = Prices().card(provider, model, tier, at)
    return None if card is None else card.cost(used)


GOLDEN = [
    # input 10 x 2.50 + output 20 x 10
    ("openai", "gpt-4o", "", Tokens(10, 20), (25 + 200) / 1e6),
    # (1000 - 600) x 0.15 + 600 x 0.075 + 100 x 0.60
    ("openai", "gpt-4o-mini", "default", Tokens(1000, 100, 600), (60 + 45 + 60) / 1e6),
    # reasoning is inside output: 500 x 1.25 + 900 x 10
    ("openai", "gpt-5", "default", Tokens(500, 900, reasoning_tokens=800), (625 + 9000) / 1e6),
    # flex is half: 500 x 0.625 + 100 x 0.0625 cached + 900 x 5
    ("openai", "gpt-5", "flex", Tokens(600, 900, 100), (312.5 + 6.25 + 4500) / 1e6),
    ("openai", "gpt-5", "FLEX", Tokens(600, 900, 100), (312.5 + 6.25 + 4500) / 1e6),
    # a stream that broke off before its tier was decided says "auto": 500 x 1.25 + 900 x 10
    ("openai", "gpt-5", "auto", Tokens(500, 900), (625 + 9000) / 1e6),
    # priority is double: 500 x 2.50 + 900 x 20
    ("openai", "gpt-5", "priority", Tokens(500, 900), (1250 + 18000) / 1e6),
    # batch: 1000 x 1.25 + 100 x 5
    ("openai", "gpt-4o", "batch", Tokens(1000, 100), (1250 + 500) / 1e6),
    # batch publishes no cached rate for gpt-4o, so cached tokens keep the standard 1.25
    ("openai", "gpt-4o", "batch", Tokens(1000, 0, 400), (750 + 500) / 1e6),
    # cache writes of gpt-5.6 cost 1.25 x input: (1000 - 200 - 300) x 4 + 200 x 0.40 + 300 x 5 + 10 x 20
    ("openai", "gpt-5.6-sol", "", Tokens(1000, 10, 200, 300), (2000 + 80 + 1500 + 200) / 1e6),
    # up to 272k the base rate: 272,000 x 4 + 1000 x 20
    ("openai", "gpt-5.6-sol", "", Tokens(272_000, 1000), (1_088_000 + 20_000) / 1e6),
    # above it every token costs the step's rate: 272,001 x 8 + 1000 x 30
    ("openai", "gpt-5.6-sol", "", Tokens(272_001, 1000), (2_176_008 + 30_000) / 1e6),
    # cached tokens count towards the step: 100,000 x 8 + 200,000 x 0.80 + 0
    ("openai", "gpt-5.6-sol", "", Tokens(300_000, 0, 200_000), (800_000 + 160_000) / 1e6),
    # a snapshot by date: gpt-4o-2024-05-13 is dearer than gpt-4o and has no cached rate: 1000 x 5 + 100 x 15
    ("openai", "gpt-4o-2024-05-13", "", Tokens(1000, 100, 500), (5000 + 1500) / 1e6),
    # audio: (1000 - 400) x 2.50 + 400 x 32 + (300 - 200) x 10 + 200 x 64
    (
        "openai",
        "gpt-audio",
        "",
        Tokens(1000, 300, input_audio_tokens=400, output_audio_tokens=200),
        (1500 + 12800 + 1000 + 12800) / 1e6,
    ),
    # image tokens of a chat model cost what text does: 1000 x 2.50 + 10 x 10
    ("openai", "gpt-4o", "", Tokens(1000, 10, input_image_tokens=700), (2500 + 100) / 1e6),
    # an embedding: 1000 x 0.02, and half of that by batch
    ("openai", "text-embedding-3-small", "", Tokens(1000), 20 / 1e6),
    ("openai", "text-embedding-3-small", "batch", Tokens(1000, 0), 10 / 1e6),
    # fine-tuned: (1000 - 500) x 0.80 + 500 x 0.20 + 100 x 3.20
    ("openai", "ft:gpt-4.1-mini-2025-04-14:acme:support:C2bHhwJM", "", Tokens(1000, 100, 500), (400 + 100 + 320) / 1e6),
    # (1000 - 500) x 0.30 + 500 x 0.15 + 100 x 1.20
    ("openai", "ft:gpt-4o-mini-2024-07-18:acme::AbCd", "default", Tokens(1000, 100, 500), (150 + 75 + 120) / 1e6),
    # behind the provider's name, and Azure, which sells OpenAI's models at OpenAI's rates
    ("openai", "openai/gpt-4o", "", Tokens(10, 20), 225 / 1e6),
    ("google", "models/gemini-2.5-flash", "", Tokens(1000, 100), (300 + 250) / 1e6),
    ("azure", "gpt-4o-mini-2024-07-18", "", Tokens(1000, 100), (150 + 60) / 1e6),
    # Groq's flex costs what its standard tier does: 1000 x 0.59 + 100 x 0.79
    ("groq", "llama-3.3-70b-versatile", "flex", Tokens(1000, 100), (590 + 79) / 1e6),
    ("groq", "llama-3.3-70b-versatile", "on_demand", Tokens(1000, 100), (590 + 79) / 1e6),
    # a fee for each request: 1000 x 1 + 100 x 1, and 12 USD per 1000 requests
    ("perplexity", "sonar", "", Tokens(1000, 100), 1100 / 1e6 + 0.012),
]


@pytest.mark.parametrize(("provider", "model", "tier", "used", "expected"), GOLDEN)
def test_the_cost_is_the_published_one(provider: str, model: str, tier: str, used: Tokens, expected: float) -> None:
    found = cost(model, used, tier, provider)
    assert found is not None
    assert found.total == pytest.approx(expected, rel=1e-12)
    assert found.total == pytest.approx(sum(found[1:]), rel=1e-12)


def test_cost_by_class() -> None:
    assert cost("gpt-5.6-sol", Tokens(1000, 10, 200, 300)) == pytest.approx(
        Cost(total=3780e-6, input=2000e-6, cached=80e-6, cache_write=1500e-6, output=200e-6)
    )


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("openai", "gpt-9-unheard-of", ""),
        ("", "gpt-4o", ""),
        ("nobody", "gpt-4o", ""),
        ("openai", "", ""),
        ("openai", "gpt-4o", "scale"),
        ("openai", "gpt-4o", "turbo"),
        ("openai", "gpt-4o", "flex"),  # gpt-4o has no flex rates
        ("openai", "ft:gpt-5-2025-08-07:acme:x:y", ""),
        ("openai", "ft:gpt-4.1-2025-04-14:acme:x:y", "batch"),
        ("azure", "gpt-5", "flex"),
        ("groq", "llama-3.3-70b-versatile", "performance"),
        ("openai", "tts-1", ""),  # priced by characters
    ],
)
def test_what_is_not_known_has_no_card(provider: str, model: str, tier: str) -> None:
    assert Prices().card(provider, model, tier, NOW) is None


@pytest.mark.parametrize(
    ("model", "used"),
    [
        ("gpt-4o", Tokens()),
        ("gpt-4o", Tokens(100)),  # a chat without a count of its output
        ("gpt-4o", Tokens(None, 100)),
        ("gpt-4o", Tokens(100, 10, 101)),  # more cached than sent
        ("gpt-4o", Tokens(100, 10, 60, 60)),
        ("gpt-4o", Tokens(100, -1)),
        ("gpt-4o", Tokens(100, 10, -1)),
        ("gpt-4o", Tokens(100, 10, input_audio_tokens=-1)),
        ("gpt-4o-audio-preview", Tokens(100, 10, input_audio_tokens=50)),  # its audio rate is not listed
        ("gpt-4o-audio-preview", Tokens(100, 10, output_audio_tokens=5)),
        ("text-embedding-3-small", Tokens(100, 10)),  # an embedding has no output to bill
    ],
)
def test_usage_that_cannot_be_billed_costs_none(model: str, used: Tokens) -> None:
    assert cost(model, used) is None


def test_tiers_are_known_from_the_day_the_list_says() -> None:
    assert cost("gpt-5", Tokens(1, 1), "flex", at=ns(2026, 10, 11, 23, 59)) is None
    assert cost("gpt-5", Tokens(1, 1), "flex", at=ns(2026, 10, 12)) is not None
    assert cost("gpt-4o", Tokens(1, 1), "batch", at=ns(2026, 10, 13, 23, 59)) is None
    assert cost("gpt-4o", Tokens(1, 1), "batch", at=ns(2026, 10, 14)) is not None


def test_the_price_is_that_of_the_start_of_the_call() -> None:
    # gpt-5.6-sol: 5 USD until 2026-08-20, 4 USD after
    assert cost("gpt-5.6-sol", Tokens(100, 0), at=ns(2026, 8, 20, 23, 59)) == pytest.approx((5e-4, 5e-4, 0, 0, 0))
    assert cost("gpt-5.6-sol", Tokens(100, 0), at=ns(2026, 8, 21)) == pytest.approx((4e-4, 4e-4, 0, 0, 0))


def test_rates_by_the_hour_change_on_a_quarter() -> None:
    """A card is remembered for a quarter of an hour; the list must not switch inside one."""
    quarter = QUARTER_NS // 60_000_000_000
    for provider in providers:
        for model in provider.models:
            conditions = model.prices if isinstance(model.prices, list) else []
            for condition in [*conditions, *(model.price_variants or [])]:
                assert isinstance(condition, ConditionalPrice) or condition.when
                if isinstance(condition.constraint, TimeOfDateConstraint):
                    for moment in (condition.constraint.start_time, condition.constraint.end_time):
                        assert (moment.minute % quarter, moment.second) == (0, 0)


def test_the_reply_names_the_model_and_the_request_stands_in_for_a_newer_snapshot() -> None:
    prices = Prices()
    card = prices.card("openai", "gpt-4o-mini-2024-07-18", "", NOW, "gpt-4o")
    assert card is not None
    assert card.base.input == pytest.approx(0.15e-6)
    card = prices.card("openai", "gpt-4o-2031-01-01", "", NOW, "gpt-4o")
    assert card is not None
    assert card.base.input == pytest.approx(2.5e-6)


class TestOverrides:
    def test_exact_before_pattern_before_list(self) -> None:
        prices = Prices({"gpt-4*": Price(input=2), "gpt-4o": Price(input=1), "*": Price(input=3)})
        for model, rate in (("gpt-4o", 1e-6), ("gpt-4.1", 2e-6), ("gpt-5", 3e-6), ("anything", 3e-6)):
            card = prices.card("openai", model, "", NOW)
            assert card is not None
            assert card.base.input == pytest.approx(rate)

    def test_classes(self) -> None:
        price = Price(input=10, output=20, cached=1, cache_write=12, input_audio=30, output_audio=40)
        card = Prices({"m": price}).card("", "m", "", NOW)
        assert card is not None
        found = card.cost(Tokens(100, 50, 20, 10, None, 30, 5))
        # 40 text x 10 + 30 audio x 30; 20 x 1; 10 x 12; 45 x 20 + 5 x 40
        assert found == pytest.approx(Cost(2540e-6, 1300e-6, 20e-6, 120e-6, 1100e-6))

    def test_absent_classes_cost_what_text_costs(self) -> None:
        card = Prices({"m": Price(input=10, output=20)}).card("", "m", "", NOW)
        assert card is not None
        assert card.cost(Tokens(100, 50, 20, 10, 5, 30, 5)) == pytest.approx(Cost(2e-3, 7e-4, 2e-4, 1e-4, 1e-3))

    def test_tiers_by_factor_and_none_without_one(self) -> None:
        prices = Prices({"gpt-5": Price(input=10, output=20, tiers={"flex": 0.5})})
        card = prices.card("openai", "gpt-5", "flex", NOW)
        assert card is not None
        assert card.cost(Tokens(100, 10)) == pytest.approx(Cost(6e-4, 5e-4, 0, 0, 1e-4))
        assert prices.card("openai", "gpt-5", "batch", NOW) is None

    def test_free_is_zero_at_every_tier(self) -> None:
        prices = Prices({"local/*": Price(input=0)})
        card = prices.card("local", "qwen3", "whatever", NOW)
        assert card is not None
        assert card.cost(Tokens(100, 10, 5)) == Cost(0, 0, 0, 0, 0)
        assert prices.card("", "qwen3", "", NOW) is None

    def test_the_model_of_the_request_matches_too(self) -> None:
        card = Prices({"my-deployment": Price(input=7)}).card("azure", "gpt-4o-2024-08-06", "", NOW, "my-deployment")
        assert card is not None
        assert card.base.input == pytest.approx(7e-6)


def test_cards_are_remembered_within_a_bound() -> None:
    prices = Prices({"*": Price(input=1)})
    assert prices.card("", "m", "", NOW) is prices.card("", "m", "", NOW + 1)
    for number in range(CARDS_MAX + 10):
        prices.card("", f"model-{number}", "", NOW)
    assert prices._remembered.cache_info().currsize == CARDS_MAX


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "google"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://acme.openai.azure.com/openai/v1", "azure"),
        ("http://127.0.0.1:8000/v1", ""),
        ("https://llm.acme.internal/v1", ""),
    ],
)
def test_the_provider_is_known_by_its_host(url: str, name: str) -> None:
    assert provider_of(url) == name


def test_names_of_any_length_are_not_remembered() -> None:
    prices = Prices({"*": Price(input=1)})
    for arguments in (("x" * 257, "", ""), ("m", "x" * 257, ""), ("m", "", "x" * 257)):
        model, requested, tier = arguments
        assert prices.card("openai", model, tier, NOW, requested) is None
    assert prices._remembered.cache_info().currsize == 0
