"""Where rows come from, in slices that can be read side by side and always in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from ..example import Row


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the source. Slices by number, and the rows within them, are in the source's order."""

    number: int
    begin: int
    """First nanosecond, or byte of a file."""
    end: int
    """Not included."""
    rows: int
    """About how many."""
    file: str = ""


class Source(Protocol):
    """Picklable: it is sent to the processes that read."""

    def slices(self) -> Sequence[Slice]:
        """All of it. Raises `DatasetError` when there is nothing to read, and says which filter leaves nothing."""

    def read(self, part: Slice) -> Iterator[Row]:
        """By time, then by request id. Raises `DatasetError`."""
