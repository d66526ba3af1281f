"""What was promoted and taken back, a line for each: the journal beside a configuration, the log in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from .errors import FinetuneError

LOG: Final = "promotions.jsonl"
"""In a run's folder: every `Step` that was about it."""


class Step(msgspec.Struct, kw_only=True):
    """A line of the journal and of a run's log. Shares in percent, by variant."""

    at: str = ""
    """ISO 8601 in UTC."""
    who: str = ""
    action: Literal["promote", "rollback", "refused"]
    """refused: the proxy did not take the last one, whose change was undone."""
    alias: str
    variant: str
    model: str = ""
    run: str = ""
    """Its folder."""
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    weights: dict[str, float] = {}
    """By variant, what a roll-back of this step alone restores."""
    upstream: str = ""
    """That was added."""
    forced: str = ""
    """What spoke against it, when it was done all the same."""


def standing(alias: str, steps: Sequence[Step]) -> list[Step]:
    """The promotions of the variant that was promoted last, as far as they were not taken back."""
    done: list[Step] = []
    for step in (one for one in steps if one.alias == alias):
        if step.action == "refused":
            del done[-1:]
        else:
            done.append(step)
    found: list[Step] = []
    for step in done:
        if step.action == "promote":
            found.append(step)
        else:
            while found and found[-1].variant == step.variant:
                found.pop()
    first = len(found)
    while first and found[first - 1].variant == found[-1].variant:
        first -= 1
    return found[first:]


def read_steps(path: Path) -> list[Step]:
    """Of a journal; none when there is no file. A last line that was not written whole never was in force. Raises
    `FinetuneError`."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return [msgspec.json.decode(line, type=Step) for line in lines if line.endswith(b"\n") and line.strip()]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FinetuneError(f"{path} is damaged: {error}. Repair it, or edit the weights by hand.") from error


def write_step(path: Path, step: Step) -> None:
    """Append it. Raises `FinetuneError`."""
    try:
        with path.open("a+b") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(msgspec.json.encode(step) + b"\n")
    except OSError as error:
        raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error
