"""What a bench finds: figures, and the table they are shown in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. With a target it can fail; without one it is told for what it explains."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    target: float | None = None
    """Of the ratio when there is a baseline, else of the value."""
    at_least: bool = False
    """The target is a lower bound."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def ok(self) -> bool | None:
        """None: nothing was promised."""
        if self.target is None:
            return None
        measured = self.ratio if self.baseline else self.value
        assert measured is not None
        return measured >= self.target if self.at_least else measured <= self.target


def show(figures: Sequence[Figure], machine: dict[str, str]) -> None:
    """Print the table."""
    title = f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}, commit {machine['commit']}"
    table = Table(title=title, title_style="dim", header_style="bold", title_justify="left")
    for heading in ("figure", "value", "baseline", "ratio", "target", "ok"):
        table.add_column(heading, justify="left" if heading in ("figure", "ok") else "right")
    for figure in figures:
        table.add_row(*_cells(figure))
    console = Console()
    # In a file or a pipe the lines need no folding.
    (console if console.is_terminal else Console(width=110)).print(table)


def _cells(figure: Figure) -> tuple[str, ...]:
    name = f"{figure.name} [dim]{figure.note}[/dim]" if figure.note else figure.name
    sign = "≥" if figure.at_least else "≤"
    unit = " ×" if figure.baseline else f" {figure.unit}"
    return (
        name,
        f"{_number(figure.value)} {figure.unit}",
        f"{_number(figure.baseline)} {figure.unit}" if figure.baseline else "",
        f"{figure.ratio:.2f} ×" if figure.ratio else "",
        f"{sign} {_number(figure.target)}{unit}" if figure.target is not None else "",
        {True: "[green]yes[/green]", False: "[red]NO[/red]", None: ""}[figure.ok],
    )


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
