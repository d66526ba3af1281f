"""Markdown whose text comes from elsewhere: nothing in a name or a prompt ends what it stands in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence


def code(text: str) -> str:
    """As code within a line, whatever backticks, pipes and line ends are in it; nothing of nothing."""
    shown = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (_ticks(shown) + 1)
    space = " " if shown[:1] == "`" or shown[-1:] == "`" else ""
    return f"{fence}{space}{shown}{space}{fence}" if shown else ""


def fenced(language: str, lines: Sequence[str]) -> Iterator[str]:
    """As a block of code."""
    fence = "`" * max(3, 1 + _ticks("\n".join(lines)))
    yield f"{fence}{language}"
    yield from lines
    yield fence


def _ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def shell(text: str) -> str:
    """As one word of a command."""
    return shlex.quote(text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells are Markdown already."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
