"""An evaluation for the eye: a table of means with intervals, what differs, and where to look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from finetune.evaluation.result import Evaluation, Places

MARKS: Final = {"better": "▲", "worse": "▼", "": " "}
_COLORS: Final = {"better": "green", "worse": "red", "": ""}


def print_evaluation(console: Console, made: Evaluation, places: Places) -> None:
    """One row for each metric, one column for each model; then speed, tokens, cost and what went wrong."""
    console.print(Text(f"{made.dataset.name}, {made.split}: {made.examples} examples. 95 % intervals."))
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("")
    for model in made.models:
        table.add_column(Text(model + (" (baseline)" if model == made.baseline else "")), justify="left")
    for metric in made.higher_is_better:
        name = f"{metric}{' *' if metric == made.primary else ''}"
        table.add_row(name, *(_cell(made, model, metric) for model in made.models))
    for title, cell in _FACTS.items():
        cells = [cell(found) for found in made.models.values()]
        if any(cells):
            table.add_row(title, *cells, style="dim")
    console.print(table)
    _print_compared(console, made)
    for note in made.notes:
        console.print(Text(note, "yellow"))
    shown: list[Path] = [places.result, places.details, places.plot]
    console.print(Text(f"Written: {', '.join(map(str, shown))}"))
    if made.recorded:
        sql = f"SELECT * FROM evaluations WHERE run = '{made.id}'"
        console.print(Text(f"{made.recorded:,} scores are in ClickHouse: {sql}"))


def _print_compared(console: Console, made: Evaluation) -> None:
    """What differs from the baseline by more than chance, and the examples that show it."""
    for model, by_metric in made.compared.items():
        found = [(metric, made.verdict(model, metric)) for metric in by_metric]
        for metric, verdict in found:
            if verdict:
                one = by_metric[metric]
                text = (
                    f"{MARKS[verdict]} {model} is {verdict} than {made.baseline} in {metric}: {one.difference:+.3g} "
                    f"({one.low:+.3g} to {one.high:+.3g}), p {_p(one.p)}, n = {one.n}"
                )
                console.print(Text(text, _COLORS[verdict]))
        if not any(verdict for _, verdict in found):
            console.print(Text(f"{model}: no difference from {made.baseline} that could not be chance."))
        for word, ids in (("worse", made.most_worse.get(model)), ("better", made.most_better.get(model))):
            if ids:
                console.print(Text(f"  most {word} on {', '.join(ids)}", "dim"))
    if made.compared:
        console.print(Text("* decides. p is corrected for all comparisons (Holm).", "dim"))


def _cell(made: Evaluation, model: str, metric: str) -> str:
    found = made.models[model][metric]
    mark = MARKS[made.verdict(model, metric)]
    return f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f}) {mark} n={found['n']}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _seconds(found: dict[str, Any]) -> str:
    latency = found["latency_s"]
    return f"{latency['p50']:.2f} / {latency['p95']:.2f} s" if latency["n"] else ""


def _tokens(found: dict[str, Any]) -> str:
    read, written = found["tokens"]["input"], found["tokens"]["output"]
    return f"{read:,.0f} / {written:,.0f}" if read is not None and written is not None else ""


def _usd(found: dict[str, Any]) -> str:
    cost = found["cost_usd"]
    return f"${1000 * cost['mean']:.4f}" if cost["n"] else ""


_FACTS: Final[Mapping[str, Callable[[dict[str, Any]], str]]] = {
    "latency p50 / p95": _seconds,
    "tokens in / out": _tokens,
    "USD / 1,000 calls": _usd,
    "not answered": lambda found: str(found["errors"] or ""),
    "cut at the limit": lambda found: str(found["cut"] or ""),
    "asked without": lambda found: ", ".join(found.get("without", [])),
}
