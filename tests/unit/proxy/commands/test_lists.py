"""Tables and lists in terminals of any width: a number is shown whole or not at all."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from exporters.console import terminal
from proxy.commands.requests import print_list
from proxy.commands.stats import print_table
from proxy.commands.store import Row

GROUP: Row = {
    "model": "a-model-with-a-rather-long-name-2026", "calls": 123456, "errors": 1234, "input_tokens": 12_345_678,
    "output_tokens": 123_456, "cached_tokens": 6_000_000, "reasoning_tokens": 1,
    "cache_calls": 0, "cache_hits": 0, "cost": 1234.5, "unpriced": 0,
    "saved": 0, "p50_ms": 1234, "p95_ms": 12345, "ttft_ms": 310,
}  # fmt: skip
CALL: Row = {
    "request_id": "01a2065528ba7493a436048d23637bb2", "method": "POST", "path": "/v1/chat/completions",
    "endpoint": "chat", "model": "a-model-with-a-rather-long-name-2026", "status": 200, "outcome": "answered",
    "error_type": "", "started": 1795000000.0, "duration_ms": 1240.0, "ttft_ms": None, "input_tokens": 123_456,
    "output_tokens": 5, "cached_tokens": None, "usage_source": "upstream", "cost": 0.001234, "cache_status": "",
    "batch_id": "", "alias": "", "variant": "",
}  # fmt: skip


def _screen(columns: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=columns, highlight=False)


def _lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [re.sub(r"\x1b\[[0-9;]*m", "", text) for text in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", range(60, 200, 7))
def test_stats_never_cut_a_number(columns: int) -> None:
    console = _screen(columns)
    print_table(console, "model", [GROUP, GROUP | {"model": "水門" * 20, "cost": None}], plot=True)
    head, *rows = _lines(console)
    assert max(map(len, (head, *rows))) <= columns
    assert {"calls", "in", "out", "cost", "p95"} <= set(head.split())
    assert "123,456" in rows[0].split()
    assert "$1,234.50" in rows[0].split()
    assert "…" not in rows[0][rows[0].index("…") + 1 :]


def test_the_ratio_of_the_response_cache_is_shown_where_it_was_asked() -> None:
    rows = [GROUP | {"cache_calls": 300, "cache_hits": 100}, GROUP, GROUP | {"cache_calls": 1000, "cache_hits": 1}]
    shown = _screen(140)
    print_table(shown, "model", rows, plot=False)
    head, *lines = _lines(shown)
    column = head.split().index("hits")
    assert [line.split()[column] for line in lines] == ["33%", "-", "<1%", "8%"]
    assert [line.split()[column - 1] for line in lines] == ["49%"] * 4
    without = _screen(140)
    print_table(without, "model", [GROUP], plot=False)
    assert "hits" not in _lines(without)[0]


def test_a_bar_is_drawn_where_there_is_room() -> None:
    narrow, wide = _screen(80), _screen(160)
    for console in (narrow, wide):
        print_table(console, "model", [GROUP], plot=True)
    assert "█" not in "".join(_lines(narrow))
    assert "█" * 40 in "".join(_lines(wide))


@pytest.mark.parametrize("columns", [80, 100, 140])
@pytest.mark.parametrize("more", [{}, {"outcome": "cut", "error_type": "upstream_cut"}, {"outcome": "abandoned"}])
def test_calls_fit_into_the_terminal(columns: int, more: dict[str, Any]) -> None:
    console = _screen(columns)
    print_list(console, [CALL | more])
    head, text = _lines(console)
    assert len(head) <= columns
    assert text.endswith({"": "1.24s", "cut": "upstream_cut", "abandoned": "abandoned"}[more.get("outcome", "")])


@pytest.mark.parametrize("report", [lambda c: print_list(c, []), lambda c: print_table(c, "model", [], plot=True)])
def test_an_empty_report_says_so_to_whoever_looks(report: Any) -> None:
    console, piped = _screen(80), io.StringIO()
    report(console)
    report(terminal(piped))
    assert "No call is recorded that fits" in _lines(console)[-1]
    assert len(piped.getvalue().splitlines()) == 1
