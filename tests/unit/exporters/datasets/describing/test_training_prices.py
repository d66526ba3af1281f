"""What training would cost."""

from __future__ import annotations

import pytest

from exporters.datasets.describing.training_prices import PRICES, UTILISATION, lasts, training


def test_every_token_is_paid_once_an_epoch() -> None:
    found = {one.model: one for one in training(2_000_000, epochs=3).hosted}
    assert found["gpt-4.1-mini"].usd == 30.0
    assert found["gpt-4.1-mini"].usd == 3 * 2 * found["gpt-4.1-mini"].usd_a_million
    assert all(one.usd == 0 for one in training(0).hosted)


def test_what_is_closing_is_said() -> None:
    assert all("2027-01" in price.note for price in PRICES if price.provider == "OpenAI")


def test_hours_follow_the_formula() -> None:
    tokens, epochs = 10_000_000, 3
    found = {(one.model, one.device): one for one in training(tokens, epochs).lora.estimates}
    hours = epochs * tokens * 6 * 8e9 / (989e12 * UTILISATION) / 3600
    assert found["8B", "H100 SXM"].hours == pytest.approx(hours, abs=0.001)


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0.0, "under a minute"), (0.02, "1 min"), (1.4, "84 min"), (1.5, "1.5 h"), (1234.56, "1,234.6 h")],
)
def test_a_time_is_said_roughly(hours: float, said: str) -> None:
    assert lasts(hours) == said


def test_four_bits_are_for_what_does_not_fit_otherwise() -> None:
    found = {(one.model, one.device): one.method for one in training(1).lora.estimates}
    assert found["8B", "RTX 4090"] == "lora"
    assert found["32B", "RTX 4090"] == "qlora"
    assert found["32B", "A100 80GB"] == "lora"
