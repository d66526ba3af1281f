"""How log lines look: the same in every process, one line each, on standard error."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}


class OneLine(logging.Formatter):
    """`14:02:11 worker-0 warning: text`. Colour only where a person looks."""

    def __init__(self, process: str, *, colour: bool) -> None:
        super().__init__("%(message)s")
        self._process = process
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record, '%H:%M:%S')} {self._process}"
        level = "" if record.levelno <= logging.INFO else f" {record.levelname.lower()}:"
        if self._colour:
            level = f"\x1b[{COLOURS.get(record.levelno, '0')}m{level}\x1b[0m" if level else ""
            head = f"\x1b[2m{head}\x1b[0m"
        return f"{head}{level} {super().format(record)}"


def wants_colour(stream: TextIO) -> bool:
    """A terminal, unless NO_COLOR (https://no-color.org) or a dumb terminal says otherwise."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def configure_logging(process: str, level: int = logging.INFO) -> None:
    """Send this process's log to standard error. `process` names it at the head of each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(process, colour=wants_colour(sys.stderr)))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "asyncio", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # What it logs it raises too, and the sink says it once a minute.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
