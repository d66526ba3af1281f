"""Runs on the terminal: a line for each, or all of one with its curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.text import Text

from exporters.call_line import printable
from exporters.console import columns_of

from .dataset_view import WIDTH_OF_NO_TERMINAL, table

if TYPE_CHECKING:
    from finetune.run import Interval, Run

_STATES = {"finished": "green", "failed": "red", "cancelled": "red", "running": "cyan", "interrupted": "yellow"}
_CURVE_MAX = 110
_FILES = ("adapter", "gguf_adapter", "merged", "plot", "card", "evaluation", "log")


def summary(run: Run) -> dict[str, Any]:
    """A run in a list, for programs."""
    file = run.file
    return {
        "name": run.name,
        "path": str(run.folder),
        "method": file.method,
        "objective": file.objective,
        "dataset": file.dataset.name,
        "base": file.base,
        "state": file.state,
        "steps": file.steps,
        "validation_loss": file.loss.get("validation"),
        "perplexity": {name: found.mean for name, found in file.perplexity.items()},
        "model": file.model or None,
        "began": file.began,
        "ended": file.ended or None,
    }


def print_runs(console: Console, found: Sequence[Run], root: Path, now: datetime) -> None:
    """One line for each; perplexity is that of base and tuned."""
    shown = table("name", "method", "dataset", "base", "state")
    shown.columns[0].no_wrap = True  # the last to be cut on a narrow terminal: commands want it whole
    for head in ("steps", "loss", "perplexity", "age"):
        shown.add_column(head, justify="right", no_wrap=True)
    for run in found:
        file = run.file
        loss = file.loss.get("validation")
        perplexity = " → ".join(f"{one.mean:.2f}" for one in (_of(run, "base"), _of(run, "tuned")) if one)
        method = file.method if file.objective == "sft" else f"{file.method} {file.objective}"
        shown.add_row(
            Text(printable(run.name), "bold"),
            method,
            printable(file.dataset.name),
            printable(PurePath(file.base).name),
            Text(file.state, _STATES.get(file.state, "")),
            f"{file.steps:,}" if file.steps else "-",
            f"{loss:.3f}" if loss is not None else "-",
            perplexity or "-",
            age(file.began, now),
        )
    console.print(shown)
    if not found and console.is_terminal:
        console.print(
            Text(f"There is no run in {root}. `penstock finetune lora DATASET --base MODEL` makes one.", "dim")
        )


def _of(run: Run, name: str) -> Interval | None:
    return run.file.perplexity.get(name)


def age(began: str, now: datetime) -> str:
    """Since then, in its largest unit; "-" when it is not known."""
    try:
        since = now - datetime.fromisoformat(began)
    except (ValueError, TypeError):
        return "-"
    for unit, letter in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m")):
        if since >= unit:
            return f"{since // unit}{letter}"
    return f"{max(0, since // timedelta(seconds=1))}s"


def document(run: Run) -> dict[str, Any]:
    """All of one, for programs: `run.json`, its curve, its evaluation, its files."""
    from finetune.curves import read_log

    log = read_log(run.log)
    best = log.best()
    return {
        **msgspec.to_builtins(run.file),
        "path": str(run.folder),
        "files": {name: str(getattr(run, name)) for name in _FILES if getattr(run, name).exists()},
        "curve": {
            "train": [*map(list, zip(log.steps, log.loss, strict=True))],
            "validation": [*map(list, zip(log.validation_steps, log.validation_loss, strict=True))],
            "best": list(best) if best else None,
        },
        "evaluation": _evaluation(run),
    }


def _evaluation(run: Run) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(run.evaluation.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None


def print_run(console: Console, run: Run) -> None:
    """Facts, arguments, the curve, files."""
    file = run.file
    state = Text(file.state, _STATES.get(file.state, ""))
    console.print(Text.assemble((printable(run.name), "bold"), "  ", state, "  ", (str(run.folder), "dim")))
    console.print()
    for label, text in _facts(run):
        console.print(Text.assemble((f"{label:<14}", "dim"), printable(text)), soft_wrap=True)
    arguments = "  ".join(f"{name}={_word(value)}" for name, value in sorted(file.arguments.items()))
    console.print(Text.assemble((f"{'arguments':<14}", "dim"), printable(arguments)), soft_wrap=True)
    _print_curve(console, run)
    console.print()
    for name in _FILES:
        path = getattr(run, name)
        if path.exists():
            console.print(Text.assemble((f"{name.replace('_', ' '):<14}", "dim"), str(path)), soft_wrap=True)
    if file.method != "hosted" and run.adapter.exists():
        console.print(Text.assemble(("Next: ", "dim"), f"penstock finetune serve {run.name}"), soft_wrap=True)


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    file = run.file
    examples = ", ".join(f"{count:,} {split}" for split, count in file.dataset.examples.items())
    yield "method", f"{file.method}, {file.objective}"
    yield "dataset", f"{file.dataset.name} ({examples}), {file.dataset.sha256[:12]}, {file.dataset.folder}"
    yield "base", file.base
    for label, text in (
        ("model", file.model),
        ("error", file.error),
        ("device", f"{file.device} {file.dtype}".strip()),
    ):
        if text:
            yield label, text
    if file.parameters:
        yield "parameters", f"{file.trainable_parameters:,} trained of {file.parameters:,}"
    yield "time", " to ".join(time for time in (file.began, file.ended) if time) or "-"
    yield "steps", f"{file.steps:,}"
    if file.tokens_per_second:
        yield "speed", f"{file.tokens_per_second:,.0f} tokens/s"
    if file.memory_bytes_peak:
        yield "memory", f"{file.memory_bytes_peak / 1e9:,.1f} GB at most"
    for name, loss in file.loss.items():
        yield "loss", f"{name} {loss:.4f}"
    for name, found in file.perplexity.items():
        interval = f"[{found.low:.3f}, {found.high:.3f}], {found.n:,} examples"
        yield "perplexity", f"{name} {found.mean:.3f} {interval}"
    yield "seed", str(file.seed)
    if file.git_commit:
        yield "commit", file.git_commit
    if file.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in sorted(file.versions.items()))
    if file.prune or file.prune_user:
        yield "cut off", f"{len(file.prune) + len(file.prune_user)} beginnings of prompts; the card has them"


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _print_curve(console: Console, run: Run) -> None:
    from finetune.curves import in_terminal, read_log

    log = read_log(run.log)
    if log:
        console.print()
        width = min(columns_of(console) or WIDTH_OF_NO_TERMINAL, _CURVE_MAX)
        console.print(Text(in_terminal(log, width)), soft_wrap=True)
