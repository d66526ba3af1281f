"""Cost and savings say what the records say: by the calendar, by every dimension, by strategy."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from exporters.record import CallRecord
from tests.e2e.grafana.conftest import Open
from tests.grafana import oracle
from tests.grafana.oracle import about, bought
from tests.grafana.reading import Reading
from tests.grafana.traffic import Traffic

CHOICES: Final[dict[str, dict[str, list[str]]]] = {
    "all": {},
    "two models": {"model": ["gpt-5", "gpt-4.1"]},
    "model and key": {"model": ["gpt-5-mini", "o'reilly-7b"], "key": ["it's-ours", "web"]},
}
STRATEGIES: Final = ("response_cache", "coalescing", "provider_cache", "flex", "batch", "smaller_model", "pruning")


@pytest.fixture(params=[*CHOICES])
def picks(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    return CHOICES[request.param]


@pytest.fixture
def reading(opened: Open, picks: dict[str, list[str]]) -> Reading:
    return opened("cost", days=30.0, **picks)


@pytest.fixture
def known(traffic: Traffic, picks: dict[str, list[str]]) -> list[CallRecord]:
    """Those that are chosen, of any time."""
    return oracle.chosen(traffic.calls, picks)


@pytest.fixture
def calls(reading: Reading, known: list[CallRecord]) -> list[CallRecord]:
    return oracle.within(known, reading.period)


def today() -> datetime:
    """By the engine's clock too: midnight may have passed since the traffic."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def test_the_calendar(reading: Reading, known: list[CallRecord]) -> None:
    """Whatever the time range."""
    titles = ("Today", "Yesterday", "This month", "Last month", "Saved this month")
    shown: dict[str, list[dict[str, Any]]] = {}
    day = None
    while day != today():  # Midnight may pass while it is asked.
        day = today()
        shown = {title: reading.rows(title) for title in titles}
    month = day.replace(day=1)
    yesterday, last_month = day - timedelta(days=1), (month - timedelta(days=1)).replace(day=1)
    for title, start, end in (
        ("Today", day, day + timedelta(days=1)),
        ("Yesterday", yesterday, day),
        ("This month", month, day + timedelta(days=1)),
        ("Last month", last_month, month),
    ):
        spent = oracle.cost(oracle.since(known, start.timestamp(), end.timestamp()))
        assert shown[title] == [{"usd": about(spent)}], title
    saved = oracle.saved(oracle.since(known, month.timestamp()))
    assert shown["Saved this month"] == [{"usd": about(saved)}]


def test_the_forecast_and_the_budget(opened: Open, picks: dict[str, list[str]], traffic: Traffic) -> None:
    """What was spent, and the rest of the month at the average of the last seven days."""
    calls = oracle.chosen(traffic.calls, picks)
    reading = opened("cost", budget="2.5", **picks)
    shown, rows, now_s, day = [], [], 0.0, None
    while day != today():
        day, now_s = today(), time.time()
        shown, rows = reading.rows("Forecast"), reading.rows("Budget")
    month = day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    spent = oracle.cost(oracle.since(calls, month.timestamp()))
    week = [call for call in calls if oracle.began_s(call) // 60 * 60 >= now_s - 7 * 86400]
    first = min(oracle.began_s(call) // 60 * 60 for call in week)
    forecast = spent + oracle.cost(week) / max(now_s - first, 86400) * (next_month.timestamp() - now_s)
    # The engine is asked a moment after the clock; the rest of the month shrinks by it.
    assert shown == [{"forecast": pytest.approx(forecast, rel=0.01)}]
    (row,) = rows
    assert row["spent"] == about(spent / 2.5)
    assert row["forecast"] == pytest.approx(forecast / 2.5, rel=0.01)


@pytest.mark.parametrize("budget", ["", "0", "much"])
def test_a_budget_that_is_none_is_no_number(opened: Open, budget: str) -> None:
    assert opened("cost", budget=budget).rows("Budget") == [{"spent": None, "forecast": None}]


OF: Final[dict[str, Callable[[CallRecord], list[str]]]] = {
    "model": lambda call: [call.request_model],
    "upstream": lambda call: [call.upstream],
    "key": lambda call: [call.key_id],
    "endpoint": lambda call: [call.endpoint],
    "provider": lambda call: [call.provider],
    "user": lambda call: [call.user] if call.user else [],
    "prompt": lambda call: [oracle.prompt(call)] if call.prompt_name else [],
    "tag": oracle.tag_pairs,
}


@pytest.mark.parametrize("by", [*OF])
def test_spend_by_any_dimension(opened: Open, known: list[CallRecord], picks: dict[str, list[str]], by: str) -> None:
    reading = opened("cost", by=by, **picks)
    hourly = by in ("user", "prompt", "tag")
    expected: dict[str, list[CallRecord]] = defaultdict(list)
    for call in oracle.within(known, reading.period, width_s=3600 if hourly else 60):
        for value in OF[by](call):
            expected[value].append(call)
    rows = {row[by]: row for row in reading.rows("Dearest by $by")}
    assert {*rows} == {*expected}
    for value, those in expected.items():
        assert rows[value]["cost"] == oracle.known_cost(those)
        assert rows[value]["requests"] == len(those)
        assert rows[value]["saved"] == about(oracle.saved(those))
    spent: dict[str, float] = defaultdict(float)
    for row in reading.rows("Spend by $by"):
        spent[row["series"]] += row["cost"]
    assert len(spent) <= 13
    assert sum(spent.values()) == about(sum(map(oracle.cost, expected.values())))
    for value in {*spent} - {"others"}:
        assert spent[value] == about(oracle.cost(expected[value]))


def test_paid_and_saved(reading: Reading, calls: list[CallRecord]) -> None:
    paid, saved = oracle.cost(calls), oracle.saved(calls)
    assert reading.rows("Paid") == [{"usd": about(paid)}]
    assert reading.rows("Saved") == [{"usd": about(saved)}]
    assert reading.rows("Would have cost") == [{"usd": about(paid + saved)}]
    assert reading.rows("Saved share") == [{"share": about(saved / (paid + saved) if paid + saved else 0)}]


def by_strategy(calls: Iterable[CallRecord]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for call in calls:
        for strategy, usd in call.savings.items():
            found[strategy] += usd
    return {strategy: usd for strategy, usd in found.items() if usd}


def test_savings_by_strategy(reading: Reading, calls: list[CallRecord]) -> None:
    expected = by_strategy(calls)
    (row,) = reading.rows("Saved by strategy")
    assert row.pop("other") == 0
    assert row == {strategy: about(expected.get(strategy, 0.0)) for strategy in STRATEGIES}

    points = oracle.by_point(calls, reading.interval_s("Savings over time"))
    over_time = {(oracle.at_s(row["time"]), row["strategy"]): row for row in reading.rows("Savings over time")}
    shares = {
        (oracle.at_s(row["time"]), row["strategy"]): row for row in reading.rows("Share that was saved, by strategy")
    }
    saved = {(at, strategy): usd for at, those in points.items() for strategy, usd in by_strategy(those).items()}
    assert {key: row["usd"] for key, row in over_time.items()} == {key: about(usd) for key, usd in saved.items()}
    assert {*shares} == {*saved}
    for (at, strategy), usd in saved.items():
        would = oracle.cost(points[at]) + oracle.saved(points[at])
        assert shares[at, strategy]["share"] == about(usd / would)

    both = {oracle.at_s(row.pop("time")): row for row in reading.rows("Paid, and what it would have cost")}
    assert both == {at: {"paid": about(oracle.cost(c)), "saved": about(oracle.saved(c))} for at, c in points.items()}


def _row(calls: Sequence[CallRecord]) -> dict[str, Any]:
    known = oracle.known_cost(calls)
    return {
        "cost": known,
        "requests": len(calls),
        "per request": None if known is None else about(oracle.cost(calls) / len(calls)),
        "saved": about(oracle.saved(calls)),
    }


def _tokens(calls: Sequence[CallRecord]) -> dict[str, int]:
    return {"tokens in": bought(calls, "input_tokens"), "tokens out": bought(calls, "output_tokens")}


@pytest.mark.parametrize(("title", "dimension"), [("Dearest prompts", "prompt"), ("Dearest users", "user")])
def test_the_dearest(reading: Reading, known: list[CallRecord], title: str, dimension: str) -> None:
    hourly = oracle.within(known, reading.period, width_s=3600)
    expected = oracle.grouped((call for call in hourly if OF[dimension](call)), lambda call: OF[dimension](call)[0])
    found = {row.pop(dimension): row for row in reading.rows(title)}
    assert found == {value: _row(those) | _tokens(those) for value, those in expected.items()}


def test_what_models_cost(reading: Reading, calls: list[CallRecord]) -> None:
    expected = oracle.grouped(calls, lambda call: call.request_model)
    for row in reading.rows("What models cost"):
        those = expected.pop(row.pop("model"))  # type: ignore[attr-defined]
        tokens = bought(those, "input_tokens") + bought(those, "output_tokens")
        known = None if oracle.known_cost(those) is None else about(1e6 * oracle.cost(those) / tokens)
        assert row.pop("per 1M tokens") == known
        assert row == _row(those)
    assert not expected


def test_the_cost_of_requests_over_time(reading: Reading, calls: list[CallRecord]) -> None:
    title = "Cost of 1,000 requests, by model"
    points = oracle.grouped(
        calls,
        lambda call: (
            oracle.began_s(call) // 60 * 60 // reading.interval_s(title) * reading.interval_s(title),
            call.request_model,
        ),
    )
    found = {(oracle.at_s(row["time"]), row["model"]): row["cost"] for row in reading.rows(title)}
    expected = {key: 1000 * oracle.cost(those) / len(those) for key, those in points.items()}
    assert found == {key: about(usd) for key, usd in expected.items() if usd}


def test_the_dearest_calls(reading: Reading, known: list[CallRecord]) -> None:
    start_s, end_s = reading.period.start_ms / 1000, reading.period.end_ms / 1000
    dearest = sorted(oracle.since(known, start_s, end_s), key=lambda call: -(call.cost or 0))[:50]
    rows = reading.rows("Dearest calls")
    assert [row["cost"] for row in rows] == [about(call.cost or 0) for call in dearest if call.cost]
    assert {row["trace"] for row in rows} == {call.trace_id for call in dearest if call.cost}


def test_what_has_no_price(reading: Reading, calls: list[CallRecord]) -> None:
    unknown = oracle.grouped(
        (call for call in calls if oracle.unpriced(call)),
        lambda call: (call.request_model, call.upstream, call.provider),
    )
    found = {
        (row["model"], row["upstream"], row["provider"]): (row["requests"], row["tokens in"], row["tokens out"])
        for row in reading.rows("Requests without a price")
    }
    assert found == {
        whose: (len(those), bought(those, "input_tokens"), bought(those, "output_tokens"))
        for whose, those in unknown.items()
    }
