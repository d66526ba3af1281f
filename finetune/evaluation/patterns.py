"""Scores by patterns of one's own: an answer has the form that was wanted, or it has not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import re2

from ..errors import FinetuneError

PREFIX: Final = "pattern:"
"""Of the metric's name."""
_names = re.compile(r"[A-Za-z0-9_-]{1,40}").fullmatch


class Patterns:
    """Compiled, by the name of the metric."""

    def __init__(self, given: Sequence[str] = ()) -> None:
        """Each `NAME=REGEX` in RE2's syntax. Raises `FinetuneError`: no name, a name twice, no such pattern."""
        self._by_name: dict[str, re.Pattern[str]] = {}
        quiet = re2.Options()
        quiet.log_errors = False
        for one in given:
            name, equals, pattern = one.partition("=")
            if not equals or not _names(name) or not pattern:
                raise FinetuneError(f"--pattern takes NAME=REGEX, with a name of letters and digits, not {one!r}.")
            if PREFIX + name in self._by_name:
                raise FinetuneError(f"There are two patterns called {name}.")
            try:
                self._by_name[PREFIX + name] = re2.compile(pattern, quiet)
            except re2.error as error:
                said = error.args[0] if error.args else error
                text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
                raise FinetuneError(f"The pattern {name} cannot be used: {text}.") from error

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def holds(self, metric: str, text: str) -> bool:
        """Whether the pattern is found in `text`: one that means all of it begins with `^` and ends with `$`."""
        return self._by_name[metric].search(text) is not None
