"""One line per call on the terminal: what was asked, what it cost, how long it took, what went wrong.

    time      got  model                       in     out  cached       cost   total  first
    14:02:11  200  gpt-4.1-mini             1,234     567     66%  $0.001234   1.24s  310ms
    14:02:12  429  gpt-4.1                 rate_limit_exceeded                  88ms      -

`?` is a fact that is not known (a model without a price), `-` one that does not apply, `~` a count that was estimated.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from rich.console import Console
from rich.text import Text

from .record import CallRecord
from .sink import Batch

logger = logging.getLogger(__name__)

LINES_PER_SECOND = 50
MODEL_WIDTH = 22
ERROR_WIDTH = 33
HEAD = (
    f"{'time':<8}  {'got':<3}  {'model':<{MODEL_WIDTH}}"
    f"{'in':>8}{'out':>8}{'cached':>7}{'cost':>10}{'total':>8}{'first':>7}"
)


@dataclass(frozen=True, slots=True)
class Call:
    """What a line tells. Times in seconds, `ended` as Unix time; None: not known."""

    ended: float
    status: int
    what: str
    """The model, or method and path where there is none."""
    metered: bool
    """Tokens and a price are to be expected."""
    duration_s: float
    first_token_s: float | None
    """Of a stream; a reply in one piece has no first token."""
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    estimated: bool
    cost: float | None
    outcome: str
    error: str
    cache: str


def call_of(record: CallRecord) -> Call:
    """What is told of `record`."""
    streamed = record.stream and record.first_token_ns
    return Call(
        ended=record.end_ns / 1e9,
        status=record.status,
        what=record.request_model or f"{record.method} {record.path}",
        metered=record.endpoint != "other" and record.status < 400 and record.outcome in ("answered", "cached", "cut"),
        duration_s=(record.end_ns - record.start_ns) / 1e9,
        first_token_s=(record.first_token_ns - record.start_ns) / 1e9 if streamed else None,
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cached_tokens=record.cached_tokens,
        estimated=record.usage_source == "estimated",
        cost=record.cost,
        outcome=record.outcome,
        error=record.error_type,
        cache=record.cache_status,
    )


def line(call: Call) -> Text:
    """The line for `call`. Without the note at its end it is at most 88 columns wide."""
    failed = call.status >= 400 or call.status == 0 or call.outcome in ("failed", "cut", "interrupted", "rejected")
    text = Text()
    text.append(datetime.fromtimestamp(call.ended).strftime("%H:%M:%S"), "dim")
    text.append(f"  {call.status or '---':>3}  ", "red" if failed else "green")
    text.append(f"{cut(call.what, MODEL_WIDTH):<{MODEL_WIDTH}}", "dim" if not call.metered and not failed else "bold")
    has_usage = call.input_tokens is not None or call.output_tokens is not None
    if failed and not has_usage:
        text.append(f" {cut(call.error or call.outcome, ERROR_WIDTH - 1):<{ERROR_WIDTH - 1}}", "red")
    else:
        _append_usage(text, call)
    text.append(f"{duration(call.duration_s):>8}")
    text.append(f"{'-' if call.first_token_s is None else duration(call.first_token_s):>7}", "dim")
    if failed and has_usage:
        text.append(f"  {printable(call.error or call.outcome)}", "red")
    elif call.outcome not in ("answered", "failed", "rejected", "interrupted", "cut"):
        text.append(f"  {call.outcome}", "cyan" if call.outcome == "cached" else "yellow")
    elif call.cache and not failed:
        text.append(f"  {call.cache}", "dim cyan")
    return text


def _append_usage(text: Text, call: Call) -> None:
    missing = "?" if call.metered and call.input_tokens is None and call.output_tokens is None else "-"
    about = "~" if call.estimated else ""
    for count in (call.input_tokens, call.output_tokens):
        text.append(f"{missing if count is None else about + number(count):>8}", "dim" if count is None else "")
    text.append(f"{_share(call.cached_tokens, call.input_tokens):>7}", "cyan" if call.cached_tokens else "dim")
    priced = call.metered or call.input_tokens is not None or call.output_tokens is not None
    text.append(f"{money(call.cost) if priced else '-':>10}", "dim" if call.cost is None else "yellow")


def printable(text: str, keep: str = "") -> str:
    """`text` without what a terminal would obey: what callers and models write is shown, never executed."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else "�" for c in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` printable characters."""
    text = printable(text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"


def _share(part: int | None, whole: int | None) -> str:
    return f"{part / whole:.0%}" if part and whole else "-"


def number(count: int) -> str:
    """At most seven columns: `123,456`, then `1.23M`."""
    if count < 1_000_000:
        return f"{count:,}"
    for unit, size in (("M", 1e6), ("G", 1e9)):
        if count < size * 999.5:
            return f"{count / size:.3g}{unit}"
    return f"{count:.1e}"


def money(usd: float | None) -> str:
    """US dollars in at most nine columns; `?` when not known. What is not zero never looks like zero."""
    if usd is None:
        return "?"
    if usd == 0:
        return "$0"
    if abs(usd) < 0.000001:
        return f"${usd:.1e}"
    if abs(usd) < 10:
        return f"${usd:.6f}"
    return f"${usd:,.2f}"


def duration(seconds: float) -> str:
    """At most six columns: `310ms`, `1.24s`, `12.3s`, `2m05s`, `3h07m`."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


def terminal(file: IO[str]) -> Console:
    """A console that colours and fits to the width only where a person looks; NO_COLOR is respected."""
    width = None if file.isatty() else 10_000
    return Console(file=file, highlight=False, soft_wrap=not file.isatty(), width=width)


def print_line(console: Console, text: Text) -> None:
    """One line, cut where the terminal ends; a pipe gets all of it."""
    looked_at = console.is_terminal
    console.print(text, no_wrap=True, overflow="ellipsis" if looked_at else "ignore", crop=looked_at)


def _later(delay_s: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(delay_s, action)
    timer.daemon = True
    timer.start()


class ConsoleSink:
    """Prints calls as they end. Never raises and never holds the recorder up: past 50 lines a second it only counts."""

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
        self._headed = False
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
        second = int(self._clock())
        if second != self._second:
            self._tell_hidden()
            self._second, self._printed = second, 0
        if self._printed < LINES_PER_SECOND:
            self._printed += 1
            self._print_head()
            self._print(line(call_of(record)))
            return
        self._hidden += 1
        if self._hidden == 1:
            self._later(1.0, self._tell_later)

    def _print_head(self) -> None:
        if not self._headed:
            self._headed = True
            self._print(Text(HEAD, "dim"))

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
