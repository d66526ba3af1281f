"""What `penstock dataset diff`, `validate`, `trace` and `forget` found, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from exporters.call_line import printable
from exporters.datasets.changing.forgetting import Forgotten
from exporters.datasets.describing.catalog import Difference
from exporters.datasets.tracing import Traced
from exporters.datasets.validating.validate import Report

from . import show
from .dataset_trace import facts_of
from .dataset_view import run_in_words, table
from .store import Row

if TYPE_CHECKING:
    from .dataset_validate import Checked

_SHOWN: Mapping[str, str] = {
    "dataset": "dataset",
    "split": "split",
    "line": "line",
    "request_id": "call",
    "time": "time",
    "model": "model",
    "prompt": "prompt",
    "label": "label",
    "tokens": "tokens",
    "cluster": "cluster",
}


def print_difference(console: Console, first: str, second: str, found: Difference) -> None:
    """Options and counts side by side, then the calls that only one has."""
    shown = table("option", first, second)
    for name, (before, after) in found.options.items():
        if name != "name":
            shown.add_row(name, _said(before), _said(after))
    if shown.row_count:
        console.print(shown)
        console.print()
    counts = table("", first, second, "", numbers=True)
    for name, (before, after) in found.counts.items():
        change = Text(f"{after - before:+,}" if after != before else "", "bold")
        counts.add_row(name, f"{before:,}", f"{after:,}", change)
    console.print(counts)
    console.print()
    console.print(f"In both: {found.in_both:,}" + (f", of which {found.moved:,} changed splits" if found.moved else ""))
    for name, count, ids in (
        (f"Only in {first}", found.only_in_first, found.first_ids),
        (f"Only in {second}", found.only_in_second, found.second_ids),
        ("In another split", found.moved, found.moved_ids),
    ):
        if count:
            more = " ..." if count > len(ids) else ""
            console.print(Text.assemble(f"{name}: {count:,}  ", (printable(" ".join(ids)) + more, "dim")))


def print_checked(console: Console, checked: Checked) -> None:
    """Each finding by its line, and how many there are of each kind."""
    for report in checked.files:
        _print_report(console, report)
    for path in checked.changed:
        console.print(Text(f"{path} is not as the manifest says: it was changed, or is gone.", "red"))


def _print_report(console: Console, report: Report) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.examples.items() if count) or "no example"
    verdict = Text("fine", "green") if report.ok else Text(f"{report.errors:,} errors", "bold red")
    rest = f", {report.warnings:,} warnings" if report.warnings else ""
    console.print(Text.assemble((report.path, "bold"), f"  {report.lines:,} lines, {kinds}  ", verdict, rest))
    told: dict[str, int] = {}
    for finding in report.findings:
        told[finding.rule] = told.get(finding.rule, 0) + 1
        place = f"line {finding.line}" if finding.line else "file"
        colour = "red" if finding.level == "error" else "yellow"
        where = f" {finding.where}" if finding.where else ""
        console.print(
            Text.assemble((f"  {place}{where}: ", colour), printable(finding.says), (f" {finding.do}", "dim"))
        )
    for rule, count in report.totals.items():
        if count > told.get(rule, 0):
            console.print(Text(f"  and {count - told.get(rule, 0):,} more of {rule}", "dim"))


def print_traced(console: Console, traced: Traced, call: Row | None, tries: Sequence[Row], why: str) -> None:
    """What the dataset knows, then the call as `penstock requests show` has it."""
    facts = facts_of(traced)
    for name, label in _SHOWN.items():
        if facts.get(name):
            console.print(Text.assemble((f"{label:<10}", "dim"), printable(str(facts[name]))))
    console.print()
    if call is None:
        console.print(Text(why, "yellow"))
    else:
        show.print_call(console, call, tries)


def print_forgotten(console: Console, changed: Sequence[Forgotten], looked_into: int) -> None:
    """What was taken out of which dataset, and what had learnt of it."""
    if not changed:
        console.print(f"Nothing of them is in any of {looked_into:,} datasets.")
    for one in changed:
        console.print(
            Text.assemble(
                (one.dataset, "bold"),
                f"  {one.examples:,} examples and {one.left_out:,} calls that were left out are gone from every file",
            )
        )
        for run in one.trained:
            console.print(Text(f"  was trained on it: {run_in_words(run)}", "bold red"))
        if one.examples and not one.trained:
            console.print(Text("  no training on it was noted", "dim"))
        for text in one.may_remain:
            console.print(Text(f"  may remain: {printable(text)}", "yellow"))
        for name in one.not_looked_into:
            console.print(Text(f"  not the dataset's, and not looked into: {printable(name)}", "yellow"))


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value))) or "-"
    return "-" if value in (None, "") else printable(str(value))
