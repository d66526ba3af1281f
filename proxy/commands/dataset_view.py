"""Datasets on the terminal: tables without boxes, which awk can read too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporters.call_line import printable
from exporters.console import columns_of
from exporters.datasets.describing.manifest import Manifest
from exporters.datasets.describing.recipe import command, deed, warnings
from exporters.datasets.describing.training_prices import lasts
from exporters.datasets.reasons import SAYS, Reason

from .stats import GAP, drawn_bars, percent, ratio

WIDTH_OF_NO_TERMINAL = 100
NAMES_MAX = 10
BAR_MIN = 12
TIMES_MAX = 20


def document(value: Any) -> Any:
    """As JSON has it."""
    return msgspec.to_builtins(value)


def print_built(console: Console, manifest: Manifest, folder: Path) -> None:
    """What came of a build, and what can be done next."""
    _print_head(console, manifest, folder)
    print_funnel(console, manifest)
    _print_splits(console, manifest)
    _print_private(console, manifest)
    for text in warnings(manifest):
        console.print(Text(text, "yellow"))
    console.print(Text.assemble(("Next: ", "dim"), f"penstock dataset show {folder.name}"))
    console.print(Text.assemble(("Card: ", "dim"), f"{folder}/README.md"))


def print_shown(console: Console, manifest: Manifest, folder: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """All that the manifest knows, short."""
    _print_head(console, manifest, folder)
    console.print(Text(command(manifest.options), "dim"))
    for done in manifest.lineage:
        console.print(Text(f"then {deed(done).replace('**', '')}", "dim"))
    console.print()
    print_funnel(console, manifest)
    _print_splits(console, manifest)
    tokens = manifest.tokens
    console.print(f"Tokens: half have at most {tokens.p50:,}, 95 % at most {tokens.p95:,}, the longest {tokens.max:,}.")
    _print_private(console, manifest)
    _print_costs(console, manifest)
    for run in runs:
        console.print(Text(f"Trained on it: {run_in_words(run)}", "cyan"))
    for text in warnings(manifest):
        console.print(Text(text, "yellow"))
    console.print()
    _print_files(console, manifest)


def print_funnel(console: Console, manifest: Manifest) -> None:
    """Rows selected, what each reason took, what is written; with bars of what was left where they fit."""
    rows = [("selected", f"{manifest.selected:,}", manifest.selected)]
    left = manifest.selected
    for name, count in manifest.dropped.items():
        left -= count
        rows.append((SAYS[Reason[name.upper()]], f"-{count:,}", left))
    rows.append(("written", f"{manifest.written:,}", manifest.written))
    shown = table()
    room = columns_of(console) or WIDTH_OF_NO_TERMINAL
    wide = min(max(len(says) for says, _, _ in rows), max(20, room - 12))
    shown.add_column("rows", max_width=wide, no_wrap=not console.is_terminal)
    shown.add_column("", justify="right", no_wrap=True)
    bars = drawn_bars(shown, "", [count for _, _, count in rows], room - wide - 12 - GAP) if console.is_terminal else []
    for place, (says, said, _) in enumerate(rows):
        shown.add_row(Text(says, "bold" if place in (0, len(rows) - 1) else ""), said, *bars[place : place + 1])
    console.print(shown)
    console.print()


def print_histograms(console: Console, manifest: Manifest) -> None:
    """Tokens, turns, models, prompts, labels and times, each with a bar."""
    for title, counts in histograms(manifest).items():
        shown = _fewer(counts) if title == "calls from" else counts
        if shown:
            _print_histogram(console, title, shown)


def _fewer(times: Mapping[str, int]) -> dict[str, int]:
    """Neighbours together, so that it fits on a screen."""
    step = max(1, -(-len(times) // TIMES_MAX))
    names, counts = [*times], [*times.values()]
    places = range(0, len(names), step)
    return {names[place][:16].replace("T", " "): sum(counts[place : place + step]) for place in places}


def histograms(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Examples by each of what they are counted by."""
    return {
        "tokens": {f"≤ {bound:,}": count for bound, count in manifest.tokens.histogram},
        "turns": {str(number): count for number, count in manifest.turns.items()},
        "model": manifest.models,
        "prompt": manifest.prompts,
        "label": manifest.labels,
        "calls from": {begin: sum(counts.values()) for begin, counts in manifest.timeline},
    }


def _print_histogram(console: Console, title: str, counts: Mapping[str, int]) -> None:
    in_all = sum(counts.values())
    names = {name: printable(name) for name in counts}
    shown = table()
    room = columns_of(console) or WIDTH_OF_NO_TERMINAL
    wide = min(max(len(title), *map(len, names.values())), max(BAR_MIN, room // 2))
    shown.add_column(title, width=wide, no_wrap=True, overflow="ellipsis")
    shown.add_column("examples", justify="right", no_wrap=True)
    shown.add_column("share", justify="right", no_wrap=True)
    bars = drawn_bars(shown, "", [*counts.values()], room - wide - 20 - GAP)
    for place, (name, count) in enumerate(counts.items()):
        shown.add_row(names[name], f"{count:,}", percent(ratio(count, in_all)), *bars[place : place + 1])
    console.print(shown)
    console.print()


def _print_head(console: Console, manifest: Manifest, folder: Path) -> None:
    when = f"  {manifest.first[:10]} to {manifest.last[:10]}" if manifest.first else ""
    console.print(
        Text.assemble(
            (manifest.name, "bold"),
            f"  {manifest.written:,} examples of {manifest.selected:,} rows{when}  ",
            (str(folder), "dim"),
        )
    )
    console.print()


def _print_splits(console: Console, manifest: Manifest) -> None:
    shown = table()
    shown.add_column("split")
    for name in ("examples", "pairs", "tokens"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name, split in manifest.splits.items():
        shown.add_row(Text(name, "bold"), f"{split.examples:,}", f"{split.preferences:,}", f"{split.tokens:,}")
    console.print(shown)
    console.print()


def _print_private(console: Console, manifest: Manifest) -> None:
    if manifest.scrubbed:
        found = ", ".join(f"{count:,} {name}" for name, count in manifest.scrubbed.items())
        console.print(f"Private text replaced in {manifest.scrubbed_examples:,} conversations: {found}.")
    elif manifest.options.scrub.enabled:
        console.print("No private text was found.")


def _print_costs(console: Console, manifest: Manifest) -> None:
    costs = manifest.training
    console.print(f"Training, {costs.epochs} epochs of {costs.tokens:,} tokens:")
    shown = table()
    for name in ("where", "what"):
        shown.add_column(name)
    shown.add_column("", justify="right", no_wrap=True)
    shown.add_column("")
    for one in costs.hosted:
        shown.add_row(one.provider, one.model, Text(f"${one.usd:,.2f}", "yellow"), Text(one.note, "dim"))
    for own in costs.lora.estimates:
        shown.add_row(own.device, own.model, lasts(own.hours), Text(own.method, "dim"))
    console.print(shown)


def _print_files(console: Console, manifest: Manifest) -> None:
    shown = table()
    shown.add_column("file")
    for name in ("lines", "bytes"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("sha256", no_wrap=True, overflow="ellipsis")
    for file in manifest.files:
        shown.add_row(file.path, f"{file.lines:,}" if file.lines else "-", f"{file.bytes:,}", Text(file.sha256, "dim"))
    console.print(shown)


def summary(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """A dataset in a list."""
    return {
        "name": folder.name,
        "path": str(folder),
        "examples": manifest.written,
        "preferences": sum(split.preferences for split in manifest.splits.values()),
        "tokens": manifest.tokens.total,
        "first": manifest.first,
        "last": manifest.last,
        "models": [*manifest.models],
    }


def print_list(console: Console, found: Sequence[tuple[Path, Manifest]], root: Path) -> None:
    """One line for each dataset."""
    shown = table("name", "examples", "pairs", "tokens", numbers=True)
    for name in ("from", "to", "models"):
        shown.add_column(name, no_wrap=True, overflow="ellipsis")
    for folder, manifest in found:
        one = summary(folder, manifest)
        shown.add_row(
            Text(folder.name, "bold"),
            *(f"{one[name]:,}" for name in ("examples", "preferences", "tokens")),
            *(one[name][:10] or "-" for name in ("first", "last")),
            printable(" ".join(one["models"][:NAMES_MAX])),
        )
    console.print(shown)
    if not found and console.is_terminal:
        console.print(Text(f"There is no dataset in {root}. `penstock dataset build NAME` makes one.", "dim"))


def table(*heads: str, numbers: bool = False) -> Table:
    """Columns without lines between them; `numbers`: all but the first to the right."""
    made = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    for place, head in enumerate(heads):
        made.add_column(head, justify="right" if numbers and place else "left")
    return made


def run_in_words(run: Mapping[str, Any]) -> str:
    """A line of `trained.jsonl`."""
    return printable("  ".join(f"{name} {run[name]}" for name in ("run", "base", "adapter", "at") if run.get(name)))
