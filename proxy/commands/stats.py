"""`penstock stats`: what was used, by whom, at what price, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from exporters.console import duration, money, number, printable

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
        " sum(g.input_tokens) AS input_tokens, sum(g.output_tokens) AS output_tokens,"
        " sum(g.cached_tokens) AS cached_tokens, sum(g.reasoning_tokens) AS reasoning_tokens,"
        " sumOrNull(g.cost) AS cost, countIf(g.cost IS NULL AND g.input_tokens IS NOT NULL) AS unpriced,"
        " sum(arraySum(mapValues(g.savings))) AS saved,"
        " quantile(0.5)(duration_ms) AS p50_ms, quantile(0.95)(duration_ms) AS p95_ms,"
        " quantileOrNull(0.5)(g.ttft_ms) AS ttft_ms"
        f" FROM generations AS g WHERE {where} GROUP BY grouped ORDER BY {order} LIMIT {{limit:UInt32}}",
        values | {"limit": limit},
    )
    named = [{by: _name(by, row["grouped"]), **{k: v for k, v in row.items() if k != "grouped"}} for row in rows]
    return named[::-1] if by in _TIMES else named


def _name(by: str, value: Any) -> str:
    if by in _TIMES:
        return datetime.fromtimestamp(value).strftime(_TIMES[by])
    return str(value) or "-"


def print_table(console: Console, by: str, rows: Sequence[Row], *, plot: bool) -> None:
    """Columns without boxes, so that a table can be read by eyes and by awk. `plot` adds a bar of the cost, or of the
    calls where nothing has a price."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    table.add_column(by.removeprefix("tag:"), style="bold", no_wrap=True, max_width=28, overflow="ellipsis")
    for name in ("calls", "errors", "in", "out", "cached", "cost", "p50", "p95", "first"):
        table.add_column(name, justify="right", no_wrap=True)
    bars: list[RenderableType] = []
    if plot:
        measure = "cost" if any(row["cost"] for row in rows) else "calls"
        table.add_column(measure, ratio=1, min_width=6, max_width=40)
        most = max((row[measure] or 0 for row in rows), default=0)
        bars = [Bar(most, 0, row[measure] or 0, color="cyan") if most else "" for row in rows]
    for index, row in enumerate(rows):
        table.add_row(Text(printable(row[by])), *_cells(row), *bars[index : index + 1])
    if len(rows) > 1:
        table.add_row(Text("all"), *_total(rows), style="dim")
    console.print(table)
    if unpriced := sum(row["unpriced"] for row in rows):
        calls = "call has" if unpriced == 1 else "calls have"
        console.print(Text(f"{unpriced:,} {calls} no known price and cannot be in the cost: see [prices].", "yellow"))


def _cells(row: Row) -> tuple[Text | str, ...]:
    share = f"{(row['cached_tokens'] or 0) / row['input_tokens']:.0%}" if row["input_tokens"] else "-"
    return (
        f"{row['calls']:,}",
        Text(f"{row['errors']:,}", "red" if row["errors"] else "dim"),
        number(row["input_tokens"]) if row["input_tokens"] else "-",
        number(row["output_tokens"]) if row["output_tokens"] else "-",
        share,
        _cost(row["cost"], row["unpriced"]),
        duration(row["p50_ms"] / 1e3),
        duration(row["p95_ms"] / 1e3),
        "-" if row["ttft_ms"] is None else duration(row["ttft_ms"] / 1e3),
    )


def _cost(cost: float | None, unpriced: int) -> Text:
    """A sum that lacks something is marked; a group that costs nothing by nature has none."""
    if cost is None:
        return Text("?" if unpriced else "-", "dim")
    return Text(money(cost) + (" +?" if unpriced else ""), "yellow")


def _total(rows: Sequence[Row]) -> tuple[Text | str, ...]:
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    return (
        f"{sum(row['calls'] for row in rows):,}",
        f"{sum(row['errors'] for row in rows):,}",
        number(sum(row["input_tokens"] or 0 for row in rows)),
        number(sum(row["output_tokens"] or 0 for row in rows)),
        "",
        _cost(sum(costs) if costs else None, sum(row["unpriced"] for row in rows)),
        "",
        "",
        "",
    )
