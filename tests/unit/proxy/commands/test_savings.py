"""The table of what was saved, in terminals of any width, in a pipe, and when there is nothing to show."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from exporters.console import terminal
from proxy.commands.filters import Filters
from proxy.commands.savings import print_table, select
from proxy.commands.store import Row

PAID = 400.0


def groups(*grouped: str) -> list[Row]:
    """As the store answers: each group paid 400 USD and saved 600 in two ways."""
    saved = {"provider_cache": 100.0, "response_cache": 500.0}
    calls = {"provider_cache": 1_234_567, "response_cache": 12}
    return [{"grouped": name, "paid": PAID, "saved": saved, "calls": calls, "unvalued": 0} for name in grouped]


def rows_of(by: str, answer: list[Row]) -> list[Row]:
    return select(lambda sql, values: answer, by, Filters(), 50)


def lines(rows: list[Row], by: str, columns: int | None = None, *, plot: bool = False) -> list[str]:
    file = io.StringIO()
    console = terminal(file) if columns is None else Console(file=file, force_terminal=True, width=columns)
    print_table(console, by, rows, plot=plot)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


def test_strategies_are_rows_with_their_share_of_what_would_have_been_paid() -> None:
    first, second = rows_of("", groups(""))
    assert (first["strategy"], first["saved"], first["share"]) == ("response_cache", 500.0, 0.5)
    assert (second["strategy"], second["saved"], second["share"]) == ("provider_cache", 100.0, 0.1)
    assert second["calls"] == 1_234_567


@pytest.mark.parametrize("by", ["model", "tag:team"])
@pytest.mark.parametrize("columns", [80, 100, 120, 160])
def test_it_fits_and_never_cuts_a_number(by: str, columns: int) -> None:
    rows = rows_of(by, groups("a-model-with-a-rather-long-name-that-nobody-would-type-2026-11-23", "水門" * 20))
    shown = lines(rows, by, columns, plot=True)
    assert max(map(cell_len, shown)) <= columns
    assert shown[0].split()[:5] == [by.removeprefix("tag:"), "strategy", "calls", "saved", "share"]
    numbers = [line.split()[-4 if "█" in line else -3 :][:3] for line in shown[1:5]]
    assert numbers == [["12", "$500.00", "50%"], ["1,234,567", "$100.00", "10%"]] * 2
    assert shown[-2].split() == ["all", "$1,200.00", "60%"]


def test_one_group_for_all_calls() -> None:
    shown = lines(rows_of("", groups("")), "", 80, plot=True)
    assert shown[-2].split() == ["all", "$600.00", "60%"]
    assert shown[-1].strip() == "Paid $400.00 instead of $1,000.00."
    assert "█" in shown[1]


def test_every_line_of_a_pipe_has_its_group() -> None:
    shown = lines(rows_of("user", groups("ada", "")), "user")
    assert [line.split()[:2] for line in shown[1:5]] == [
        ["ada", "response_cache"],
        ["ada", "provider_cache"],
        ["-", "response_cache"],
        ["-", "provider_cache"],
    ]


def test_times_are_in_order() -> None:
    rows = rows_of("day", groups(2_000_000, 1_000_000))  # type: ignore[arg-type]  # the newest first, as the store is asked
    assert [row["day"] for row in rows] == sorted(row["day"] for row in rows)


def test_a_group_without_savings_is_shown_and_its_cost_counts() -> None:
    nothing: Row = {"grouped": "c", "paid": 1000.0, "saved": {}, "calls": {}, "unvalued": 0}
    shown = lines(rows_of("model", [*groups("a"), nothing]), "model", 80)
    assert shown[3].split() == ["c", "-", "0", "$0", "0%"]
    assert shown[-1].strip() == "Paid $1,400.00 instead of $2,000.00."


@pytest.mark.parametrize("paid", [0.0, 3.0])
def test_nothing_saved_says_what_would_to_whoever_looks(paid: float) -> None:
    answer: list[Row] = [{"grouped": "", "paid": paid, "saved": {}, "calls": {}, "unvalued": 0}]
    for rows in ([], rows_of("", answer)):
        text = " ".join(" ".join(lines(rows, "", 80)).split())
        for told in ("x-penstock-cache: on", "[[cache.rules]]", "prompt_cache_key", "1,024 tokens"):
            assert told in text
        assert lines(rows, "") == []


@pytest.mark.parametrize(("count", "said"), [(1, "1 call was not bought"), (2000, "2,000 calls were not bought")])
def test_what_has_no_price_is_said_not_hidden(count: int, said: str) -> None:
    answer: list[Any] = [row | {"unvalued": count} for row in groups("")]
    assert said in lines(rows_of("", answer), "", 80)[-1]
    alone: list[Row] = [{"grouped": "", "paid": 0.0, "saved": {}, "calls": {}, "unvalued": count}]
    assert said in " ".join(lines(rows_of("", alone), ""))
