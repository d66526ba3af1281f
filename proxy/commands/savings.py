"""`penstock stats --savings`: what was not paid, and by which strategy."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporters.call_line import money, padded, printable
from exporters.console import columns_of

from .filters import REUSED, Filters
from .stats import GAP, NAME_WIDTHS, TIMES, drawn_bars, expression, name_of, percent, ratio
from .store import Query, Row

HEADS = ("calls", "saved", "share")
STRATEGY_WIDTH_MAX = 20
WIDTH_OF_NO_TERMINAL = 120
NOTHING_SAVED = """\
Nothing was saved that is known.
The response cache gives a reply again to calls that send x-penstock-cache: on or fit a rule in [[cache.rules]].
The provider's own prompt cache reads equal beginnings again, from 1,024 tokens on: put first what stays the same, \
and let prompt_cache_key in [[upstreams]] keep it together.
Calls that may wait cost half: x-penstock-batch: hold, async or flex, or a rule in [[batch.rules]].
What a smaller model saves against the one it stands for is known once its alias has a baseline ([[models]])."""


def select(query: Query, by: str, filters: Filters, limit: int) -> list[Row]:
    """One row for each strategy of each group (`by`; "": of all calls): what saved most first, times in order.

    `saved`: USD. `calls`: those that saved so. `paid` and `saved_in_all` are the whole group's, and `share` is the part
    of both together, which the group would have cost. A group that saved nothing has one row, of the strategy "".
    `unvalued`: calls of the group that were not bought and have no price, so that what they saved is in no sum. Raises
    `CommandFailed` for an unknown group.
    """
    where, values = filters.where()
    group = expression(by) if by else "''"
    groups = query(
        f"SELECT {group} AS grouped, sum(ifNull(g.cost, 0)) AS paid, sumMap(g.savings) AS saved,"
        " sumMap(mapApply((name, usd) -> (name, toUInt64(1)), g.savings)) AS calls,"
        f" countIf({REUSED} AND g.input_tokens > 0 AND NOT mapContains(g.savings, 'response_cache')"
        " AND NOT mapContains(g.savings, 'coalescing')) AS unvalued"
        f" FROM generations AS g WHERE {where} GROUP BY grouped"
        f" ORDER BY {'grouped DESC' if by in TIMES else 'arraySum(mapValues(saved)) DESC, paid DESC'}"
        " LIMIT {limit:UInt32}",
        values | {"by_tag": by.removeprefix("tag:"), "limit": limit},
    )
    return [row for one in (groups[::-1] if by in TIMES else groups) for row in _strategies(by, one)]


def _strategies(by: str, group: Row) -> list[Row]:
    in_all = sum(group["saved"].values())
    named = {by: name_of(by, group["grouped"])} if by else {}
    rest = {"paid": group["paid"], "saved_in_all": in_all, "unvalued": group["unvalued"]}
    return [
        {
            **named,
            "strategy": strategy,
            "calls": group["calls"].get(strategy, 0),
            "saved": saved,
            "share": ratio(saved, group["paid"] + in_all),
            **rest,
        }
        for strategy, saved in sorted(group["saved"].items(), key=lambda pair: -pair[1]) or [("", 0.0)]
    ]


def print_table(console: Console, by: str, rows: Sequence[Row], *, plot: bool) -> None:
    """Without boxes; every line names its group, so that awk can read it too. `plot` adds a bar where it fits."""
    groups = {row.get(by, ""): row for row in rows}
    paid, saved, unvalued = (sum(row[name] for row in groups.values()) for name in ("paid", "saved_in_all", "unvalued"))
    if saved:
        _print_rows(console, by, rows, ("", money(saved), percent(ratio(saved, paid + saved))), plot=plot)
        console.print(Text(f"Paid {money(paid)} instead of {money(paid + saved)}.", "dim"))
    elif console.is_terminal:
        console.print(Text(NOTHING_SAVED, "dim"))
    if unvalued:
        calls, have = ("call was", "has") if unvalued == 1 else ("calls were", "have")
        console.print(
            Text(f"{unvalued:,} {calls} not bought but {have} no price, so in no sum: see [prices].", "yellow")
        )


def _print_rows(console: Console, by: str, rows: Sequence[Row], total: tuple[str, ...], *, plot: bool) -> None:
    names = [printable(row[by]) for row in rows] if by else []
    strategies = [printable(row["strategy"]) or "-" for row in rows]
    cells = [(f"{row['calls']:,}", money(row["saved"]), percent(row["share"])) for row in rows]
    widths = [max(len(head), *(len(one[index]) for one in [*cells, total])) for index, head in enumerate(HEADS)]
    strategy_width = min(max(map(cell_len, ["strategy", *strategies])), STRATEGY_WIDTH_MAX)
    room = (columns_of(console) or WIDTH_OF_NO_TERMINAL) - sum(widths) - GAP * len(widths) - strategy_width - GAP
    name_width = min(max(map(cell_len, [by.removeprefix("tag:"), "all", *names])), max(NAME_WIDTHS[0], room - GAP))
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    if by:
        table.add_column(padded(by.removeprefix("tag:"), name_width), width=name_width)
        room -= name_width + GAP
    table.add_column("strategy", width=strategy_width)
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    bars = drawn_bars(table, "", [row["saved"] for row in rows], room - GAP) if plot else []
    for index, (strategy, (calls, usd, share)) in enumerate(zip(strategies, cells, strict=True)):
        name = [Text(padded(names[index], name_width), "bold")] if by else []
        shown = Text(padded(strategy, strategy_width), "" if by else "bold")
        table.add_row(*name, shown, calls, Text(usd, "green"), share, *bars[index : index + 1])
    if len(rows) > 1:
        table.add_row(*(["all", ""] if by else ["all"]), *total, style="dim")
    console.print(table)
