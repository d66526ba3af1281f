"""`penstock stats`: what was used, by whom, at what price, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import plotext
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporters.console import cut, duration, money, number, printable

from .failure import CommandFailed
from .filters import FAILED, Filters
from .store import Query, Row

GROUPS = {
    "model": "if(model = '', '(no model)', model)",
    "key": "key_id",
    "user": "user",
    "session": "session",
    "upstream": "upstream",
    "provider": "provider",
    "endpoint": "endpoint",
    "outcome": "outcome",
    "error": "error_type",
    "prompt": "prompt_name",
    "hour": "toUnixTimestamp(toStartOfHour(timestamp))",
    "day": "toUnixTimestamp(toStartOfDay(timestamp))",
}
_TIMES = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d"}


def select(query: Query, by: str, filters: Filters, limit: int) -> list[Row]:
    """One row for each group: the dearest first, times in order. Raises `CommandFailed` for an unknown group."""
    where, values = filters.where()
    group = GROUPS.get(by)
    if by.startswith("tag:") and len(by) > 4:
        group, values = "tags[{by_tag:String}]", values | {"by_tag": by[4:]}
    if group is None:
        raise CommandFailed(f"--by {by!r} is not known. Choose one of {', '.join(GROUPS)}, tag:NAME.")
    order = "grouped DESC" if by in _TIMES else "cost DESC NULLS LAST, calls DESC"
    rows = query(
        f"SELECT {group} AS grouped, count() AS calls, countIf({FAILED}) AS errors,"
        " sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,"
        " sum(cached_tokens) AS cached_tokens, sum(reasoning_tokens) AS reasoning_tokens,"
        " sumOrNull(cost) AS cost, countIf(cost IS NULL AND input_tokens IS NOT NULL) AS unpriced,"
        " sum(arraySum(mapValues(savings))) AS saved,"
        " quantile(0.5)(duration_ms) AS p50_ms, quantile(0.95)(duration_ms) AS p95_ms,"
        " quantileOrNull(0.5)(ttft_ms) AS ttft_ms"
        f" FROM generations WHERE {where} GROUP BY grouped ORDER BY {order} LIMIT {{limit:UInt32}}",
        values | {"limit": limit},
    )
    named = [{by: _name(by, row["grouped"]), **{k: v for k, v in row.items() if k != "grouped"}} for row in rows]
    return named[::-1] if by in _TIMES else named


def _name(by: str, value: Any) -> str:
    if by in _TIMES:
        return datetime.fromtimestamp(value).strftime(_TIMES[by])
    return str(value) or "-"


def print_table(console: Console, by: str, rows: Sequence[Row]) -> None:
    """Aligned columns without boxes, so that a table can be read by eyes and by awk."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    table.add_column(by.removeprefix("tag:"), style="bold", no_wrap=True, max_width=28, overflow="ellipsis")
    for name in ("calls", "errors", "in", "out", "cached", "cost", "p50", "p95", "first"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(printable(row[by])), *_cells(row))
    if len(rows) > 1:
        table.add_row(Text("all", "dim"), *_total(rows), style="dim")
    console.print(table)
    if unpriced := sum(row["unpriced"] for row in rows):
        console.print(Text(f"{unpriced:,} calls have no known price and are not in the cost.", "yellow"))


def _cells(row: Row) -> tuple[Text | str, ...]:
    share = f"{(row['cached_tokens'] or 0) / row['input_tokens']:.0%}" if row["input_tokens"] else "-"
    return (
        f"{row['calls']:,}",
        Text(f"{row['errors']:,}", "red" if row["errors"] else "dim"),
        number(row["input_tokens"] or 0),
        number(row["output_tokens"] or 0),
        share,
        Text(money(row["cost"]) + ("+?" if row["unpriced"] and row["cost"] is not None else ""), "yellow"),
        duration(row["p50_ms"] / 1e3),
        duration(row["p95_ms"] / 1e3),
        "-" if row["ttft_ms"] is None else duration(row["ttft_ms"] / 1e3),
    )


def _total(rows: Sequence[Row]) -> tuple[str, ...]:
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    return (
        f"{sum(row['calls'] for row in rows):,}",
        f"{sum(row['errors'] for row in rows):,}",
        number(sum(row["input_tokens"] or 0 for row in rows)),
        number(sum(row["output_tokens"] or 0 for row in rows)),
        "",
        money(sum(costs)) if costs else "?",
        "",
        "",
        "",
    )


def bars(by: str, rows: Sequence[Row], width: int) -> Text:
    """A terminal plot: cost where it is known, else calls. At most the twelve dearest groups, or all hours."""
    priced = any(row["cost"] for row in rows)
    values = [float(row["cost"] or 0) if priced else row["calls"] for row in rows]
    title = f"{'cost, USD' if priced else 'calls'} by {by.removeprefix('tag:')}"
    plotext.clear_figure()
    plotext.theme("clear")
    if by in _TIMES:
        plotext.bar([row[by] for row in rows], values)
        plotext.plotsize(width, 14)
        plotext.title(title)
    else:
        plotext.simple_bar([cut(row[by], 24) for row in rows[:12]], values[:12], width=width, title=title)
    return Text.from_ansi(plotext.build())
