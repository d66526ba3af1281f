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
from .filters import FAILED, REUSED, Filters
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
    "alias": "alias",
    "variant": "if(alias = '', variant, concat(alias, ' ', variant))",
    "hour": "toUnixTimestamp(toStartOfHour(timestamp))",
    "day": "toUnixTimestamp(toStartOfDay(timestamp))",
}
TIMES = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d"}


def expression(by: str) -> str:
    """SQL for the group of a row. Raises `CommandFailed` for an unknown one."""
    if by.startswith("tag:") and len(by) > 4:
        return "tags[{by_tag:String}]"
    if by not in GROUPS:
        raise CommandFailed(f"--by {by!r} is not known. Choose one of {', '.join(GROUPS)}, tag:NAME.")
    return GROUPS[by]


def select(query: Query, by: str, filters: Filters, limit: int) -> list[Row]:
    """One row for each group: the dearest first, times in order. Raises `CommandFailed` for an unknown group.

    Tokens are those that were bought; what was answered again is in the `reused_` ones. `provider_cache_ratio`: the
    share of the input that the provider had in its own prompt cache. `response_cache_ratio`: the share of the calls for
    which the response cache was asked that it answered. None where there is nothing to divide by.
    """
    where, values = filters.where()
    group = expression(by)
    values |= {"by_tag": by.removeprefix("tag:")}
    order = "grouped DESC" if by in TIMES else "cost DESC NULLS LAST, calls DESC"
    rows = query(
        f"SELECT {group} AS grouped, count() AS calls, countIf({FAILED}) AS errors,"
        f" {_bought('input_tokens')}, {_bought('output_tokens')},"
        f" {_bought('cached_tokens')}, {_bought('reasoning_tokens')},"
        f" sumIf(g.input_tokens, {REUSED}) AS reused_input_tokens,"
        f" sumIf(g.output_tokens, {REUSED}) AS reused_output_tokens,"
        f" countIf({REUSED} OR cache_status = 'miss') AS cache_calls, countIf({REUSED}) AS cache_hits,"
        " sumOrNull(g.cost) AS cost, countIf(g.cost IS NULL AND g.input_tokens IS NOT NULL) AS unpriced,"
        " sum(arraySum(mapValues(g.savings))) AS saved,"
        " quantile(0.5)(duration_ms) AS p50_ms, quantile(0.95)(duration_ms) AS p95_ms,"
        " quantileOrNull(0.5)(g.ttft_ms) AS ttft_ms"
        f" FROM generations AS g WHERE {where} GROUP BY grouped ORDER BY {order} LIMIT {{limit:UInt32}}",
        values | {"limit": limit},
    )
    named = [{by: name_of(by, row["grouped"]), **{k: v for k, v in row.items() if k != "grouped"}} for row in rows]
    for row in named:
        row["provider_cache_ratio"] = ratio(row["cached_tokens"], row["input_tokens"])
        row["response_cache_ratio"] = ratio(row["cache_hits"], row["cache_calls"])
    return named[::-1] if by in TIMES else named


def _bought(column: str) -> str:
    return f"sumIf(g.{column}, NOT {REUSED}) AS {column}"


def ratio(part: float | None, whole: float | None) -> float | None:
    """None where there is nothing to divide by."""
    return (part or 0) / whole if whole else None


def name_of(by: str, value: Any) -> str:
    """How a group is called."""
    if by in TIMES:
        return datetime.fromtimestamp(value).strftime(TIMES[by])
    return str(value) or "-"


NAME_WIDTHS = (12, 28)
BAR_WIDTHS = (8, 40)
HEADS = ("calls", "errors", "in", "out", "cached", "hits", "cost", "p50", "p95", "first")
"""`cached`: of the input, by the provider. `hits`: of the calls, by the response cache; only where it was asked."""
EXPENDABLE = ("p50", "first", "hits", "cached", "errors")
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
    asked = [head for head in HEADS if head != "hits" or any(row["cache_calls"] for row in rows)]
    heads, room = _fitted(cells, asked, columns_of(console), min(least, longest))
    width = min(longest, most, max(least, room))
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    table.add_column(padded(title, width), width=width)
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    measure = "cost" if any(row["cost"] for row in rows) else "calls"
    bars = drawn_bars(table, measure, [row[measure] or 0 for row in rows], room - width - GAP) if plot else []
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


def _fitted(
    cells: Sequence[dict[str, Text | str]], asked: Sequence[str], columns: int | None, least: int
) -> tuple[list[str], int]:
    """The columns that fit whole beside a name of `least`, and what is left for the name and a bar."""
    widths = {head: max([len(head), *(len(row[head]) for row in cells)]) for head in asked}
    heads, expendable = [*asked], [head for head in EXPENDABLE if head in asked]
    if columns is None:
        return heads, NAME_WIDTHS[1] + GAP + BAR_WIDTHS[1]

    def room() -> int:
        return columns - sum(widths[head] + GAP for head in heads)

    while expendable and room() < least:
        heads.remove(expendable.pop(0))
    return heads, room()


def drawn_bars(table: Table, title: str, amounts: Sequence[float], room: int) -> list[RenderableType]:
    """Adds the column of the bars, and gives them; none where they do not fit."""
    least, most = BAR_WIDTHS
    if room < least:
        return []
    table.add_column(title, width=min(most, room), no_wrap=True)
    longest = max(amounts, default=0)
    return [Bar(longest, 0, amount, color="cyan") if longest else "" for amount in amounts]


def _cells(row: Row) -> tuple[Text | str, ...]:
    return (
        f"{row['calls']:,}",
        Text(f"{row['errors']:,}", "red" if row["errors"] else "dim"),
        number(row["input_tokens"]) if row["input_tokens"] else "-",
        number(row["output_tokens"]) if row["output_tokens"] else "-",
        percent(ratio(row["cached_tokens"], row["input_tokens"])),
        percent(ratio(row["cache_hits"], row["cache_calls"])),
        _cost(row["cost"], row["unpriced"]),
        duration(row["p50_ms"] / 1e3),
        duration(row["p95_ms"] / 1e3),
        "-" if row["ttft_ms"] is None else duration(row["ttft_ms"] / 1e3),
    )


def percent(share: float | None) -> str:
    """`-` where there is no share to speak of; a call in a thousand does not look like none."""
    if share is None:
        return "-"
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _cost(cost: float | None, unpriced: int) -> Text:
    """A sum that lacks something is marked; a group that costs nothing by nature has none."""
    if cost is None:
        return Text("?" if unpriced else "-", "dim")
    return Text(money(cost) + (" +?" if unpriced else ""), "yellow")


def _total(rows: Sequence[Row]) -> tuple[Text | str, ...]:
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    sums = {name: sum(row[name] or 0 for row in rows) for name in _SUMMED}
    return (
        f"{sums['calls']:,}",
        f"{sums['errors']:,}",
        number(sums["input_tokens"]),
        number(sums["output_tokens"]),
        percent(ratio(sums["cached_tokens"], sums["input_tokens"])),
        percent(ratio(sums["cache_hits"], sums["cache_calls"])),
        _cost(sum(costs) if costs else None, sums["unpriced"]),
        "",
        "",
        "",
    )


_SUMMED = ("calls", "errors", "input_tokens", "output_tokens", "cached_tokens", "cache_hits", "cache_calls", "unpriced")
