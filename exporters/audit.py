"""Counts what a directory holds, independently of the sinks: accepted, open, recorded, lost.

The rule: an exchange is accepted by the first frame that names it, and done by its record. One that is open at the end
of a segment and is not named at the head of the next has lost its record (the disk refused it, or it was damaged).
What was counted is kept at segment boundaries only; after a restart the last segment is read again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from .files import Aside
from .frames import Damage, Frame, Kind, carries_in
from .layout import STATS, SpoolDirectory
from .stats import Stats, read_stats
from .tail import Chunk, Cursor, Tail, identify


class Totals(msgspec.Struct, kw_only=True):
    accepted: int = 0
    feedback: int = 0
    dropped: dict[str, int] = {}
    """By reason: corrupt, unwritten (the disk refused the record), disk_full, io_error (refused even the begin mark),
    killed (neither mark nor record was written before the worker died)."""
    corrupt: int = 0
    """Damaged stretches of bytes."""
    torn: int = 0
    """Frames that break off at the end of a segment."""

    def drop(self, reason: str, count: int) -> None:
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def add(self, other: Totals) -> None:
        self.accepted += other.accepted
        self.feedback += other.feedback
        self.corrupt += other.corrupt
        self.torn += other.torn
        for reason, count in other.dropped.items():
            self.drop(reason, count)

    def copy(self) -> Totals:
        return msgspec.structs.replace(self, dropped=dict(self.dropped))


class DirectoryState(msgspec.Struct, kw_only=True):
    """What is known when `segment` begins."""

    segment: int = 1
    totals: Totals = msgspec.field(default_factory=Totals)
    open: list[str] = []
    damaged: bool = False
    """Something was damaged since the open exchanges were last named."""
    records: dict[int, int] = {}
    """How many records each earlier segment held, as long as a sink may ask."""
    evicted: list[int] = []
    """Segments that the quota took."""


class Audit:
    """Follows one directory. `kept` is what may be saved; the rest is counted again from there."""

    def __init__(self, directory: SpoolDirectory, state: DirectoryState, aside: Aside) -> None:
        self.directory = directory
        self.kept = state
        self.totals = state.totals.copy()
        self.open: dict[str, bytes | None] = dict.fromkeys(state.open)
        """Open exchanges and their begin marks; None for a mark that could not be read."""
        self.records = dict(state.records)
        self._aside = aside
        self._damaged = state.damaged
        self._awaited: int | None = None
        self._carried: set[str] = set()
        self.tail = Tail(directory, Cursor(state.segment))
        self.stats = Stats()
        self.unsaved = False
        """`kept` has changed since somebody set this to False."""

    def advance(self) -> None:
        """Count what was written since."""
        while piece := self.tail.read():
            if isinstance(piece, Chunk):
                self._count(piece)
            self._turn()
        self.stats = read_stats(self.directory.path / STATS)

    def seen(self) -> tuple[Totals, int]:
        """Totals and open exchanges, with those that left no frame."""
        totals, still_open = self.totals.copy(), len(self.open)
        totals.accepted += sum(self.stats)
        totals.drop("disk_full", self.stats.disk_full)
        totals.drop("io_error", self.stats.io_error)
        if self.tail.ended:
            totals.drop("killed", self.stats.open)
        else:
            still_open += self.stats.open
        return totals, still_open

    def forget(self, below: int) -> None:
        """Let go of the counts of segments that every sink has passed."""
        for kept in (self.records, self.kept.records):
            for number in [number for number in kept if number < below]:
                del kept[number]
        self.kept.evicted = [number for number in self.kept.evicted if number >= below]

    def _turn(self) -> None:
        """At a new segment: keep what was counted so far."""
        number = self.tail.position.segment
        if number == self.kept.segment:
            return
        self.kept = DirectoryState(
            segment=number,
            totals=self.totals.copy(),
            open=list(self.open),
            damaged=self._damaged,
            records=dict(self.records),
            evicted=self.kept.evicted,
        )
        self._awaited = None
        self.unsaved = True

    def _count(self, chunk: Chunk) -> None:
        self.records.setdefault(chunk.segment, 0)
        for piece in chunk.pieces:
            if isinstance(piece, Damage):
                self._note_damage(chunk.segment, piece)
            elif piece.kind == Kind.HEAD:
                self._awaited = carries_in(piece.payload)
                self._carried = set()
                self._settle()
            elif piece.kind == Kind.FEEDBACK:
                self.totals.feedback += 1
            elif (handler := _HANDLERS.get(piece.kind)) is not None:
                handler(self, chunk.segment, piece)

    def _begun(self, segment: int, piece: Frame) -> None:
        request_id = identify(piece.payload)
        if request_id is None:
            self._set_aside(segment, piece.start, piece.payload)
            return
        self.totals.accepted += request_id not in self.open
        self.open[request_id] = piece.payload

    def _carry(self, segment: int, piece: Frame) -> None:
        self._begun(segment, piece)
        if request_id := identify(piece.payload):
            self._carried.add(request_id)
            self._settle()

    def _settle(self) -> None:
        """When a segment's head was read whole, whatever it does not name is not open."""
        if self._awaited is None or len(self._carried) != self._awaited:
            return
        lost = [request_id for request_id in self.open if request_id not in self._carried]
        for request_id in lost:
            del self.open[request_id]
        self.totals.drop("corrupt" if self._damaged else "unwritten", len(lost))
        self._damaged = False
        self._awaited = None

    def _recorded(self, segment: int, piece: Frame) -> None:
        request_id = identify(piece.payload) or ""
        self.totals.accepted += request_id not in self.open
        self.open.pop(request_id, None)
        self.records[segment] += 1

    def _note_damage(self, segment: int, damage: Damage) -> None:
        if damage.torn:
            self.totals.torn += 1
            return
        data = b""
        with contextlib.suppress(FileNotFoundError), open(self.directory.segment(segment), "rb") as file:
            file.seek(damage.start)
            data = file.read(damage.end - damage.start)
        self._set_aside(segment, damage.start, data)

    def _set_aside(self, segment: int, offset: int, data: bytes) -> None:
        self._damaged = True
        self.totals.corrupt += 1
        self._aside.put(f"{self.directory.name}-{segment:010}-{offset}.bin", data)


_HANDLERS: dict[int, Callable[[Audit, int, Frame], None]] = {
    Kind.BEGIN: Audit._begun,
    Kind.CARRY: Audit._carry,
    Kind.RECORD: Audit._recorded,
}
