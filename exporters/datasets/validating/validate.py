"""`penstock dataset validate`: a training file against OpenAI's rules and ours, with what to do about each finding.

The file is read line by line; of each line two digests are held in memory, so that lines can be compared with others.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..progress import Progress, Silent
from .checking import Checked, Checker, Kind
from .rules import (
    EXAMPLE_TOKENS_MAX,
    EXAMPLES_MIN,
    FILE_BYTES_MAX,
    IMAGE_EXAMPLES_MAX,
    RULES,
    TOKENS_MAX_OF,
    Level,
)

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
EACH_MAX: Final = 10
"""Findings of one rule that are told with their lines; the others are counted."""
_BOM: Final = b"\xef\xbb\xbf"
_COMPRESSED: Final = frozenset({".gz", ".zst"})


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A line that breaks a rule. Never with text of the file."""

    line: int
    """From 1; 0: the file as a whole."""
    where: str
    """Such as `messages[2].content`; kinds and counts for private text."""
    rule: str
    level: Level
    says: str
    do: str


class Report(msgspec.Struct, kw_only=True):
    """What is to be said of a file; as JSON with `msgspec.json.encode`."""

    path: str
    bytes: int
    lines: int
    examples: dict[Kind, int]
    """By kind; lines that are no example of either are in none."""
    tokens: int
    """Estimated from the text, of all examples."""
    tokens_max: int
    """Of the longest example, also estimated."""
    errors: int
    warnings: int
    totals: dict[str, int]
    """Findings by rule, in the order of `rules.RULES`."""
    findings: list[Finding]
    """By line; of each rule the first ones."""

    @property
    def ok(self) -> bool:
        """Whether it would be taken: no errors."""
        return not self.errors


def validate(
    path: Path,
    kind: Kind | None = None,
    *,
    model: str = "",
    examples_min: int = EXAMPLES_MIN,
    each_max: int = EACH_MAX,
    progress: Progress | None = None,
) -> Report:
    """Check a file whose lines should be of `kind`, or of the kind of its first example.

    `model`: the one to be trained, for its limit of tokens. `examples_min`: a file for validation needs but one.
    Raises `DatasetError` when the file cannot be read.
    """
    if path.suffix in _COMPRESSED:
        raise DatasetError(f"{path} is compressed. Unpack it first: trainers take it as it is.")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            shown = progress or Silent()
            shown.phase("checking", size)
            run = _Run(kind, model, each_max)
            for number, line in _lines(file):
                run.line(number, line)
                shown.advance(len(line) + 1)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
    return run.report(path, size, examples_min)


class _Run:
    def __init__(self, kind: Kind | None, model: str, each_max: int) -> None:
        limits = [limit for name, limit in TOKENS_MAX_OF.items() if model.removeprefix("ft:").startswith(name)]
        self._checker = Checker(limits[0] if limits else EXAMPLE_TOKENS_MAX)
        self._kind = kind
        self._each_max = each_max
        self._lines = 0
        self._examples: Counter[Kind] = Counter()
        self._with_images = 0
        self._tokens = 0
        self._tokens_max = 0
        self._totals: Counter[str] = Counter()
        self._findings: list[Finding] = []
        self._numbers = array("Q")
        self._questions = array("Q")
        self._wholes = array("Q")

    def line(self, number: int, text: bytes) -> None:
        """One more line, without its end."""
        self._lines = number
        found = self._checked(number, text)
        if found is None:
            return
        for rule, where in found.notes:
            self._note(number, rule, where)
        if found.kind is None:
            return
        self._examples[found.kind] += 1
        if self._kind is None:
            self._kind = found.kind
        elif found.kind != self._kind:
            self._note(number, "mixed_kinds", "")
        self._with_images += bool(found.images)
        self._tokens += found.tokens
        self._tokens_max = max(self._tokens_max, found.tokens)
        if found.whole:
            self._numbers.append(number)
            self._questions.append(found.question)
            self._wholes.append(found.whole)

    def report(self, path: Path, size: int, examples_min: int) -> Report:
        examples = sum(self._examples.values())
        if examples < examples_min:
            self._note(0, "too_few_examples", f"{examples} examples")
        if size > FILE_BYTES_MAX:
            self._note(0, "file_too_large", f"{size:,} bytes")
        if self._with_images > IMAGE_EXAMPLES_MAX:
            self._note(0, "too_many_image_examples", f"{self._with_images:,} examples")
        self._compare()
        totals = {rule: self._totals[rule] for rule in RULES if self._totals[rule]}
        levels: Counter[Level] = Counter()
        for rule, count in totals.items():
            levels[RULES[rule].level] += count
        return Report(
            path=str(path),
            bytes=size,
            lines=self._lines,
            examples=dict(self._examples),
            tokens=self._tokens,
            tokens_max=self._tokens_max,
            errors=levels["error"],
            warnings=levels["warning"],
            totals=totals,
            findings=sorted(self._findings, key=lambda finding: finding.line),
        )

    def _checked(self, number: int, text: bytes) -> Checked | None:
        """None, and a note, for what is no JSON object."""
        if number == 1 and text.startswith(_BOM):
            self._note(number, "byte_order_mark", "")
            text = text.removeprefix(_BOM)
        if len(text) > LINE_BYTES_MAX:
            self._note(number, "line_too_long", "")
            return None
        if not text.strip():
            self._note(number, "empty_line", "")
            return None
        try:
            line: Any = msgspec.json.decode(text.decode())
        except UnicodeDecodeError:
            self._note(number, "not_utf8", "")
        except (msgspec.DecodeError, RecursionError):
            self._note(number, "not_json", "")
        else:
            if isinstance(line, dict):
                return self._checker.check(line)
            self._note(number, "not_an_object", "")
        return None

    def _compare(self) -> None:
        numbers = np.array(self._numbers, np.uint64)
        again = np.zeros(len(numbers), np.bool_)
        for rule, digests in (("duplicate", self._wholes), ("contradiction", self._questions)):
            first = _first_of(np.array(digests, np.uint64))
            places = np.flatnonzero((first != np.arange(len(first))) & ~again)
            for place in places:
                self._note(int(numbers[place]), rule, f"line {numbers[first[place]]}")
            again[places] = True

    def _note(self, line: int, rule: str, where: str) -> None:
        self._totals[rule] += 1
        if self._totals[rule] <= self._each_max:
            self._findings.append(Finding(line=line, where=where, rule=rule, **RULES[rule]._asdict()))


def _first_of(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of each, the place where it was first."""
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[which]
    return found


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered from 1, without their ends. Of one that is too long, only so much that this can be seen."""
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 2):
        number += 1
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(LINE_BYTES_MAX)):
            pass
        yield number, line.removesuffix(b"\n").removesuffix(b"\r")
