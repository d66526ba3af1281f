"""What somebody who waits for a run sees: bars on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback

_Item = TypeVar("_Item")


class Watch(Protocol):
    """Where a run tells how far it is."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def bar(self, what: str, total: int, done: int = 0) -> Any:
        """A context manager; gives a function of what has come to it since and a note beside the bar."""


class Silent:
    """Tells nothing."""

    def say(self, text: str) -> None:
        return

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        yield lambda count, note: None


class Written:
    """Bars where `file` is a terminal; there and elsewhere, lines."""

    def __init__(self, file: TextIO = sys.stderr) -> None:
        self._file = file
        self._console = Console(file=file, highlight=False)

    def say(self, text: str) -> None:
        if self._file.isatty():
            self._console.print(text, markup=False)
        else:
            print(text, file=self._file, flush=True)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        if not self._file.isatty():
            yield lambda count, note: None
            return
        columns = (
            TextColumn(f"{what:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(what, total=total, completed=done, note="")
            yield lambda count, note: progress.update(task, advance=count, note=note)


def watched(watch: Watch, what: str, items: Iterable[_Item], total: int) -> Iterator[_Item]:
    """`items`, with a bar of how many were taken."""
    with watch.bar(what, total) as move:
        for item in items:
            yield item
            move(1, "")


def quiet() -> None:
    """Bars and advice of the libraries would break into ours."""
    import datasets
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


class Steps(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """Moves the bar with each step, with the loss and tokens a second beside it; says each validation in a line."""

    def __init__(self, watch: Watch, clock: Callable[[], float] = time.perf_counter) -> None:
        self._watch = watch
        self._clock = clock
        self._bar: Any = None
        self._move: Callable[[int, str], None] = lambda count, note: None
        self._loss = 0.0
        self._note = ""
        self._tokens = 0
        self._began = 0.0
        self._ended = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of the steps of this process, validations and checkpoints included."""
        return self._tokens / max(self._ended - self._began, 1e-9)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = self._ended = self._clock()
        self._bar = self._watch.bar("training", state.max_steps, state.global_step)
        self._move = self._bar.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._ended = self._clock()
        self._move(1, self._note)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        self._tokens = int(logs.get("num_tokens", self._tokens))
        if "loss" in logs:  # after the step that it is of
            self._note = f"loss {self._loss:.3f}, {self.tokens_per_second:,.0f} tokens/s"
            self._move(0, self._note)
        if "eval_loss" in logs:
            self._watch.say(
                f"step {state.global_step} of {state.max_steps}: loss {self._loss:.4f}, "
                f"validation {logs['eval_loss']:.4f}"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; also when training ended with an error."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
