"""`penstock stats`: what was used, by whom, at what price, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.bar import Bar
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from exporters.call_line import duration, money, number, padded, printable
from exporters.console import columns_of

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


def expression(by: str) -> str:
    """SQL for the group of a row. Raises `CommandFailed` for an unknown one."""
    if by.startswith("tag:") and len(by) > 4:
        return "tags[{by_tag:String}]"
    if by not in GROUPS:
        raise CommandFailed(f"--by {by!r} is not known. Choose one of {', '.join(GROUPS)}, tag:NAME.")
    return GROUPS[by]


def select(query: Query, by: str, filters: Filters, limit: int) -> list[Row]:
    """One row for each group: the dearest first, times in order. Raises `CommandFailed` for an unknown group."""
    where, values = filters.where()
    group = expression(by)
    values |= {"by_tag": by.removeprefix("tag:")}
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


NAME_WIDTHS = (12, 28)
BAR_WIDTHS = (8, 40)
HEADS = ("calls", "errors", "in", "out", "cached", "cost", "p50", "p95", "first")
EXPENDABLE = ("p50", "first", "cached", "errors")
"""Left out one after another where the terminal is too narrow: a number is whole or not there."""


def print_table(console: Console, by: str, rows: Sequence[Row], *, plot: bool) -> None:
    """Columns without boxes, so that a table can be read by eyes and by awk. `plot` adds a bar of the cost, or of the
    calls where nothing has a price, where there is room for one."""
    cells = [dict(zip(HEADS, _cells(row), strict=True)) for row in rows]
    if len(rows) > 1:
        cells.append(dict(zip(HEADS, _total(rows), strict=True)))
    names = [printable(row[by]) for row in rows] + ["all"] * (len(cells) - len(rows))
    title = by.removeprefix("tag:")
    longest = max(map(cell_len, [title, *names]))
    least, most = NAME_WIDTHS
    heads, room = _fitted(cells, columns_of(console), min(least, longest))
    width = min(longest, most, max(least, room))
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    table.add_column(padded(title, width), width=width)
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    bars = _bars(table, rows, room - width - GAP) if plot else []
    for index, (name, found) in enumerate(zip(names, cells, strict=True)):
        style = "bold" if index < len(rows) else ""
        shown = Text(padded(name, width), style)
        bar = bars[index : index + 1]
        table.add_row(shown, *(found[head] for head in heads), *bar, style=None if index < len(rows) else "dim")
    console.print(table)
    if not rows and console.is_terminal:
        console.print(Text("No call is recorded that fits. --since 30d looks further back than a week.", "dim"))
    if unpriced := sum(row["unpriced"] for row in rows):
        calls = "call has" if unpriced == 1 else "calls have"
        console.print(Text(f"{unpriced:,} {calls} no known price and cannot be in the cost: see [prices].", "yellow"))


GAP = 2


def _fitted(cells: Sequence[dict[str, Text | str]], columns: int | None, least: int) -> tuple[list[str], int]:
    """The columns that fit whole beside a name of `least`, and what is left for the name and a bar."""
    widths = {head: max([len(head), *(len(row[head]) for row in cells)]) for head in HEADS}
    heads, expendable = [*HEADS], [*EXPENDABLE]
    if columns is None:
        return heads, NAME_WIDTHS[1] + GAP + BAR_WIDTHS[1]

    def room() -> int:
        return columns - sum(widths[head] + GAP for head in heads)

    while expendable and room() < least:
        heads.remove(expendable.pop(0))
    return heads, room()


def _bars(table: Table, rows: Sequence[Row], room: int) -> list[RenderableType]:
    """Adds the column of the bars, and gives them; none where they do not fit."""
    least, most = BAR_WIDTHS
    if room < least:
        return []
    measure = "cost" if any(row["cost"] for row in rows) else "calls"
    table.add_column(measure, width=min(most, room), no_wrap=True)
    longest = max((row[measure] or 0 for row in rows), default=0)
    return [Bar(longest, 0, row[measure] or 0, color="cyan") if longest else "" for row in rows]


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
