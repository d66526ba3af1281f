"""What a provider says of a training, as the lines of `log.jsonl` that every run has.

While it runs, from its events; when it is over, from its result files: CSV with a line for each step, which OpenAI
encodes in base64 and others do not.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import FinetuneError

Line = dict[str, Any]

_NAMES: Final = {
    "loss": ("train_loss", "training_loss", "loss"),
    "eval_loss": ("full_valid_loss", "valid_loss", "validation_loss", "eval_loss"),
    "mean_token_accuracy": ("train_mean_token_accuracy", "train_accuracy", "training_token_accuracy"),
    "learning_rate": ("learning_rate",),
}
"""Of a log, by those that providers have for the same; the first that there is."""
STEPS_MAX: Final = 10**9
_step = re.compile(r"step (\d{1,9})(?:/(\d{1,9}))?", re.IGNORECASE).search
_losses: Final = (
    ("full_valid_loss", re.compile(r"full validation loss[=:] ?([0-9.]{1,20})", re.IGNORECASE).search),
    ("valid_loss", re.compile(r"(?<!full )validation loss[=:] ?([0-9.]{1,20})", re.IGNORECASE).search),
    ("train_loss", re.compile(r"training loss[=:] ?([0-9.]{1,20})", re.IGNORECASE).search),
)


class Unreadable(Exception):
    """A result file that is no CSV of steps."""


def of_event(words: object, data: object) -> tuple[Line, int]:
    """The line of an event, `step` in it, and the steps in all; an empty one for events that are about no step."""
    message = words if isinstance(words, str) else ""
    told: dict[str, Any] = dict(data) if isinstance(data, dict) else {}
    said = _step(message)
    total = _steps(told.get("total_steps") or (said and said.group(2)))
    step = _steps(told.get("step") or (said and said.group(1)))
    if not step:
        return {}, total
    for name, search in _losses:
        if (found := search(message)) and name not in told:
            told[name] = found.group(1)
    return {"step": step, **_measured(told)}, total


def of_file(content: bytes) -> list[Line]:
    """The lines of a result file, by step. Raises `Unreadable`."""
    text = _text(content)
    rows = csv.DictReader(io.StringIO(text, newline=None))
    try:
        if "step" not in (rows.fieldnames or ()):
            raise Unreadable("it has no column named step")
        told = [dict(row) for row in rows]
    except csv.Error as error:
        raise Unreadable("it is no CSV") from error
    # Losses over the whole validation file are few and comparable; those of single batches are for want of them.
    if any(number(row.get("full_valid_loss")) is not None for row in told):
        for row in told:
            row.pop("valid_loss", None)
    lines = {}
    for row in told:
        if step := _steps(row.get("step")):
            lines[step] = {"step": step, **_measured(row)}
    return [lines[step] for step in sorted(lines)]


def _text(content: bytes) -> str:
    """Of CSV that may be encoded."""
    try:
        plain = content.decode("utf-8-sig")
        if "," in plain.partition("\n")[0]:
            return plain
        return base64.b64decode("".join(plain.split()), validate=True).decode("utf-8-sig")
    except (UnicodeDecodeError, binascii.Error) as error:
        raise Unreadable("it is no text") from error


def _measured(told: Mapping[str, Any]) -> Line:
    found = {}
    for name, names in _NAMES.items():
        values = (number(told.get(one)) for one in names)
        value = next((one for one in values if one is not None), None)
        if value is not None:
            found[name] = value
    return found


def _steps(value: object) -> int:
    """0 where it is no number of steps."""
    found = number(value) or 0.0
    return int(found) if 1 <= found <= STEPS_MAX else 0


def number(value: object) -> float | None:
    """A finite one, also in words; None where it is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


class Log:
    """`log.jsonl` of a run. A step is in it once."""

    def __init__(self, path: Path) -> None:
        """Go on with what there is; a half-written last line is left out."""
        self._path = path
        self._lines: dict[int, Line] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                found = msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if isinstance(found.get("step"), int):
                self._lines[found["step"]] = found

    @property
    def lines(self) -> list[Line]:
        """By step."""
        return [self._lines[step] for step in sorted(self._lines)]

    def add(self, lines: Iterable[Line], *, epochs: float, total: int) -> bool:
        """Write what is new of `lines`; False when nothing is. A step without `at_s` has that of the one before.

        Raises `FinetuneError` when it cannot be written; what was there before is there still.
        """
        before = {step: dict(line) for step, line in self._lines.items()}
        for line in lines:
            self._lines[line["step"]] = {**self._lines.get(line["step"], {}), **line}
        at_s = 0.0
        steps = max([total, *self._lines]) if self._lines else 0
        for line in self.lines:
            at_s = line.setdefault("at_s", at_s)
            line["epoch"] = round(line["step"] * epochs / steps, 4) if steps else 0.0
        if self._lines == before:
            return False
        self._write()
        return True

    def last(self, name: str) -> float | None:
        found: list[float] = [line[name] for line in self.lines if name in line]
        return found[-1] if found else None

    def least(self, name: str) -> float | None:
        return min((line[name] for line in self.lines if name in line), default=None)

    def _write(self) -> None:
        aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            aside.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in self.lines))
            aside.replace(self._path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise FinetuneError(f"{self._path} cannot be written: {error.strerror}.") from error
