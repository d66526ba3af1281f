"""Batches out of the spool: records and feedback of all directories in turn, in an order that can be had again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from . import files, layout
from .checkpoint import Intent, Range
from .completion import Completion
from .frames import Damage, Frame, Kind
from .record import CallRecord, Feedback, decode_feedback
from .tail import Chunk, Cursor, Gap, Tail, read_range

logger = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 256 * 1024

_LOOK_EVERY: Final = 16
"""Rounds that bring something; after one that brings nothing new directories are looked for at once."""

Item = CallRecord | Feedback
RecordsIn = Callable[[str, int, int], tuple[int, bool]]
"""(directory, first segment, last segment) -> records they held, and whether the quota took them."""


@dataclass
class _Part:
    start: int
    end: int
    items: list[Item]


@dataclass
class Gathered:
    """A batch in the making: one part for each segment it comes from."""

    parts: dict[tuple[str, int], _Part] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    """Records that cannot be delivered to anybody: undecodable, quota, missing."""
    count: int = 0
    size: int = 0
    """Bytes read."""
    moved: bool = False
    """A whole segment lies behind."""
    cursors: dict[str, Cursor] = field(default_factory=dict)
    """Where every directory stands when this batch is done with."""
    is_last: bool = False
    """The recorder was about to end when this was begun: when it holds nothing, there is nothing left."""

    @property
    def is_worth_a_commit(self) -> bool:
        return bool(self.count or self.moved or any(self.dropped.values()))

    @property
    def ranges(self) -> list[Range]:
        return [Range(*key, part.start, part.end) for key, part in self.parts.items() if part.items]

    @property
    def items(self) -> list[Item]:
        """In the order of `ranges`, and within each in the order of the file."""
        return [item for part in self.parts.values() for item in part.items]


class Gatherer:
    """Reads for one sink, for one thread at a time; `claimed` may be asked from others."""

    def __init__(self, sink: str, root: Path, completion: Completion, records_in: RecordsIn) -> None:
        self._sink = sink
        self._root = root
        self._completion = completion
        self._records_in = records_in
        self.aside = files.Aside(root / layout.REFUSED / quote(sink, safe=""))
        self._throttle = files.Throttle()
        self._tails: dict[str, Tail] = {}
        self._turn = 0
        self._found: list[layout.SpoolDirectory] = []

    def claimed(self, directory: str) -> Cursor | None:
        """Where reading goes on."""
        tail = self._tails.get(directory)
        return tail.position if tail else None

    def forget(self) -> None:
        """Go back to the committed cursors."""
        self._tails = {}

    def pull(self, into: Gathered, cursors: dict[str, Cursor], count_max: int, size_max: int) -> bool:
        """Read one piece of each directory, until a limit is met. False when there was nothing new in any."""
        if self._turn % _LOOK_EVERY == 0 or not self._found:
            self._found = layout.directories(self._root)
        found = self._found
        self._turn += 1
        progress = False
        for index in range(len(found)):
            directory = found[(index + self._turn) % len(found)]
            if into.count >= count_max or into.size >= size_max:
                return True
            tail = self._tails.get(directory.name)
            if tail is None:
                tail = self._tails[directory.name] = Tail(directory, cursors.get(directory.name))
            segment = tail.position.segment
            read = tail.read(bytes_max=_CHUNK_BYTES, records_max=count_max - into.count)
            if read is None:
                continue
            progress = True
            into.moved |= tail.position.segment != segment
            if isinstance(read, Gap):
                count, evicted = self._records_in(directory.name, read.first, read.last)
                into.dropped["quota" if evicted else "missing"] += max(0, count - read.records)
            else:
                self._add(into, directory.name, read)
        if not progress:
            self._found = []
        return progress

    def cursors(self, committed: dict[str, Cursor]) -> dict[str, Cursor]:
        """Where every directory stands when all that was read is done with. Directories that are gone are left out."""
        there = {directory.name for directory in layout.directories(self._root)}
        self._tails = {name: tail for name, tail in self._tails.items() if name in there}
        read = {name: tail.position for name, tail in self._tails.items()}
        return {name: cursor for name, cursor in {**committed, **read}.items() if name in there}

    def again(self, intent: Intent) -> list[Item] | None:
        """The items of a batch that was gathered before, the same as then; None when a part of it is gone."""
        known = {directory.name: directory for directory in layout.directories(self._root)}
        items: list[Item] = []
        try:
            for part in intent.ranges:
                pieces = read_range(known[part.directory], part.segment, part.start, part.end)
                items += self._items(part.directory, part.segment, pieces, Counter(), again=True)
        except (KeyError, FileNotFoundError):
            return None
        return items

    def _add(self, into: Gathered, directory: str, chunk: Chunk) -> None:
        items = self._items(directory, chunk.segment, chunk.pieces, into.dropped)
        part = into.parts.setdefault((directory, chunk.segment), _Part(chunk.start, chunk.start, []))
        part.end = chunk.end
        part.items += items
        into.count += len(items)
        into.size += chunk.end - chunk.start

    def _items(
        self,
        directory: str,
        segment: int,
        pieces: list[Frame | Damage],
        dropped: Counter[str],
        *,
        again: bool = False,
    ) -> list[Item]:
        """What the sink gets of these pieces; what nobody can read is set aside and counted in `dropped`."""
        frames = [piece for piece in pieces if isinstance(piece, Frame) and piece.kind in (Kind.RECORD, Kind.FEEDBACK)]
        records = [frame for frame in frames if frame.kind == Kind.RECORD]
        if again:
            made = self._completion.again(records)
        else:
            made = self._completion.records(self._sink, directory, segment, records)
        completed = dict(zip((frame.start for frame in records), made, strict=True))
        items: list[Item] = []
        for frame in frames:
            item = completed.get(frame.start) if frame.kind == Kind.RECORD else _feedback(frame.payload)
            if item is not None:
                items.append(item)
                continue
            dropped["undecodable"] += frame.start in completed
            self.aside.put(f"{directory}-{segment:010}-{frame.start}.msgpack", frame.payload)
            if self._throttle.due("undecodable"):
                logger.error("Sink %s: what cannot be decoded is set aside in %s.", self._sink, self.aside.path)
        return items


def _feedback(payload: bytes) -> Feedback | None:
    try:
        return decode_feedback(payload)
    except msgspec.DecodeError:
        return None
