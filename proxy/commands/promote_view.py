"""What a promotion changed, for people and for programs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from exporters.call_line import printable

from .options import print_json, stdout_console

if TYPE_CHECKING:
    from finetune.promotions import Step


@dataclass
class Outcome:
    step: Step
    path: str
    old: str
    new: str
    warnings: list[str]
    in_use: bool = False
    """By the proxy that runs."""
    dry_run: bool = False


def show(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json(document(outcome))
        return
    console = stdout_console()
    step = outcome.step
    console.print(Text.assemble((f"{step.alias}\n", "bold"), _shares(step)))
    for line in _diff(outcome):
        style = {"+": "green", "-": "red", "@": "dim"}.get(line[:1], "")
        console.print(Text(printable(line), style), soft_wrap=True)
    for text in outcome.warnings:
        console.print(Text.assemble(("warning  ", "yellow"), text))
    if step.forced:
        console.print(Text.assemble(("forced   ", "yellow"), step.forced))
    console.print(Text(said(outcome), "green" if outcome.in_use else ""))


def said(outcome: Outcome) -> str:
    """How it ended, in a line."""
    if outcome.dry_run:
        return "Nothing was changed."
    if outcome.in_use:
        return "In use."
    if outcome.old == outcome.new:
        return f"{outcome.path} says so already."
    return f"{outcome.path} is changed; it is used when Penstock loads it (SIGHUP, or its next start)."


def document(outcome: Outcome) -> dict[str, Any]:
    step = outcome.step
    return {
        "action": step.action,
        "alias": step.alias,
        "variant": step.variant,
        "model": step.model,
        "before": step.before,
        "after": step.after,
        "configuration": outcome.path,
        "diff": "\n".join(_diff(outcome)),
        "warnings": outcome.warnings,
        "forced": step.forced,
        "in_use": outcome.in_use,
        "dry_run": outcome.dry_run,
    }


def _shares(step: Step) -> str:
    names = [*step.before, *(name for name in step.after if name not in step.before)]
    width = max(map(len, names), default=0)
    lines = [
        f"  {printable(name):<{width}}  {_percent(step.before, name):>6}  →  {_percent(step.after, name):>6}"
        for name in names
    ]
    return "\n".join(lines)


def _percent(shares: dict[str, float], name: str) -> str:
    return f"{shares[name]:.4g}%" if name in shares else "-"


def _diff(outcome: Outcome) -> list[str]:
    lines = difflib.unified_diff(
        outcome.old.splitlines(), outcome.new.splitlines(), "before", "after", lineterm="", n=2
    )
    return [*lines]
