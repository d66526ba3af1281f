"""How far a long step of `penstock dataset` is: a bar with counts, rate and remaining time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


@contextlib.contextmanager
def shown_on(file: IO[str]) -> Iterator[Bars]:
    """Bars there until the end; what is done stays to be read."""
    columns = (
        TextColumn("{task.description:<24}", markup=False),  # it has names in it that callers chose
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(file=file), refresh_per_second=5) as shown:
        yield Bars(shown)


class Bars:
    """A `datasets.progress.Progress`: a bar for each step."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._task: Any = None

    def phase(self, name: str, total: int) -> None:
        self._end()
        self._task = self._shown.add_task(name, total=total or None)

    def advance(self, count: int = 1) -> None:
        if self._task is not None:
            self._shown.advance(self._task, count)

    def _end(self) -> None:
        """What a step did not count to the end is over all the same."""
        if self._task is not None:
            task = self._shown.tasks[-1]
            self._shown.update(self._task, completed=task.total or task.completed, total=task.total or task.completed)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Since the step began: slices come at once, so that the last moment says little."""
        elapsed = task.finished_time or task.elapsed
        return Text(f"{task.completed / elapsed:,.0f}/s" if elapsed and task.completed else "", "dim")
