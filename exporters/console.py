"""The terminal: a console that fits to it, and the sink that prints each call as it ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from rich.console import Console
from rich.text import Text

from .call_line import MODEL_WIDTH, Call, call_of, head, line, model_width
from .record import CallRecord
from .sink import Batch

logger = logging.getLogger(__name__)

LINES_PER_SECOND = 50
BATCHES_MAX = 1000
"""Batches whose lines are being added up."""


def terminal(file: IO[str]) -> Console:
    """A console that colours and fits to the width only where a person looks; NO_COLOR is respected.

    Texts are shown as they are: what rich would read as a style (`[/INST]`) or a picture (`:smile:`) is somebody's.
    """
    width = None if file.isatty() else 10_000
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=not file.isatty(), width=width)


def columns_of(console: Console) -> int | None:
    """The columns of the terminal; None where nobody looks, and nothing has to fit."""
    return console.width if console.is_terminal else None


def print_line(console: Console, text: Text) -> None:
    """One line, cut where the terminal ends; a pipe gets all of it."""
    looked_at = console.is_terminal
    console.print(text, no_wrap=True, overflow="ellipsis" if looked_at else "ignore", crop=looked_at)


def _later(delay_s: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(delay_s, action)
    timer.daemon = True
    timer.start()


class _Sum:
    """What the calls of one batch used and cost."""

    def __init__(self) -> None:
        self._input = self._cached = self._output = 0
        self._cost: float | None = 0.0
        self._estimated = False

    def add(self, record: CallRecord) -> None:
        self._input += record.input_tokens or 0
        self._cached += record.cached_tokens or 0
        self._output += record.output_tokens or 0
        self._estimated |= record.usage_source == "estimated"
        if record.cost is not None and self._cost is not None:
            self._cost += record.cost
        elif record.input_tokens is not None:
            self._cost = None

    def in_all(self, call: Call) -> Call:
        return replace(
            call,
            input_tokens=self._input,
            cached_tokens=self._cached,
            output_tokens=self._output,
            estimated=self._estimated,
            cost=self._cost,
        )


class ConsoleSink:
    """Prints calls as they end. Never raises and never holds the recorder up: past 50 lines a second it only counts.

    The calls of a batch are not printed: they are added up, and the batch is one line when it is over.
    """

    name = "console"

    def __init__(
        self,
        file: IO[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] = _later,
    ) -> None:
        self._file = file
        self._console = terminal(file)
        self._clock = clock
        self._later = later
        self._lock = threading.Lock()
        self._second = -1
        self._printed = 0
        self._hidden = 0
        self._tokens: deque[str] = deque(maxlen=64)
        self._sums: OrderedDict[str, _Sum] = OrderedDict()
        self._width: int | None = None
        self._broken = False

    def write(self, batch: Batch) -> None:
        """Print the batch, once for each token. Nobody looks at a closed terminal: then nothing is printed any more."""
        with self._lock:
            if batch.token in self._tokens:
                return
            self._tokens.append(batch.token)
            for record in batch.records:
                self._offer(record)

    def _offer(self, record: CallRecord) -> None:
        if record.kind == "call" and record.batch_id:
            self._sums.setdefault(record.batch_id, _Sum()).add(record)
            if len(self._sums) > BATCHES_MAX:
                self._sums.popitem(last=False)
            return
        call = call_of(record)
        if record.kind == "batch" and (lines := self._sums.pop(record.batch_id, None)):
            call = lines.in_all(call)
        second = int(self._clock())
        if second != self._second:
            self._tell_hidden()
            self._second, self._printed = second, 0
        if self._printed < LINES_PER_SECOND:
            self._printed += 1
            self._print_head()
            self._print_call(call)
            return
        self._hidden += 1
        if self._hidden == 1:
            self._later(1.0, self._tell_later)

    def _print_head(self) -> None:
        if self._width is None:
            self._width = model_width(columns_of(self._console))
            self._print(head(self._width))

    def _print_call(self, call: Call) -> None:
        width, columns = self._width or MODEL_WIDTH, columns_of(self._console)
        self._print(line(call, width, columns))

    def _tell_later(self) -> None:
        with self._lock:
            self._tell_hidden()

    def _tell_hidden(self) -> None:
        if self._hidden:
            self._print(Text(f"          … and {self._hidden:,} more in the last second", "dim"))
            self._hidden = 0

    def _print(self, text: Text) -> None:
        if self._broken:
            return
        # Rendered apart from the writing, because rich ends the process when the reader of a pipe is gone.
        with self._console.capture() as rendered:
            print_line(self._console, text)
        try:
            self._file.write(rendered.get())
            self._file.flush()
        except (OSError, ValueError) as error:
            self._broken = True
            logger.warning("calls are no longer printed: the terminal is gone (%s)", error)
            _forget_output(self._file)

    def close(self) -> None:
        with self._lock:
            self._tell_hidden()


def _forget_output(file: IO[str]) -> None:
    """Let what is still buffered go nowhere, so that closing the file at exit does not fail again."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, file.fileno())
        os.close(null)
    except (OSError, ValueError):
        logger.debug("the output has no descriptor to be pointed elsewhere")
