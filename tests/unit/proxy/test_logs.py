"""One line per event, colour only for people."""

from __future__ import annotations

import io
import logging
import re

import pytest

from proxy.logs import OneLine, wants_colour


def _record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("a", level, "f", 1, text, None, None)


def test_a_line_without_colour() -> None:
    line = OneLine("worker-0", colour=False).format(_record(logging.WARNING, "it is late"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d worker-0 warning: it is late", line)


def test_a_plain_message_has_no_level() -> None:
    line = OneLine("serve", colour=False).format(_record(logging.INFO, "hello"))
    assert line.endswith(" serve hello")


def test_colour_marks_the_level() -> None:
    line = OneLine("serve", colour=True).format(_record(logging.ERROR, "bad"))
    assert "\x1b[31m error:\x1b[0m bad" in line


@pytest.mark.parametrize(
    ("environ", "terminal", "wanted"),
    [({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, True, False)],
)
def test_who_wants_colour(
    environ: dict[str, str], terminal: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    assert wants_colour(stream) is wanted
