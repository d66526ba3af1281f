"""The ledger: accepted = exported + spooled + dropped, for each sink, at every moment and over all restarts.

Accepted and spooled are counted from the files (`audit.py`), exported and dropped by the sink's own checkpoint; nothing
is computed from the others, so a defect on either side shows as a sum that does not add up.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from . import files, layout
from .audit import Audit, DirectoryState, Totals
from .checkpoint import SinkState
from .tail import Cursor


class Progress(Protocol):
    """What the ledger asks of a sink's delivery. Read from another thread than the one that writes it."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> SinkState:
        """What is committed."""

    def claimed(self, directory: str) -> Cursor | None:
        """How far it has read, for a batch that is being gathered or written; None when it has not begun."""

    @property
    def oldest_ns(self) -> int | None:
        """End of the oldest exchange that was read and not exported yet."""

    @property
    def retries(self) -> int: ...
    @property
    def last_error(self) -> str: ...


@dataclass(frozen=True)
class SinkLedger:
    """Exchanges, from the moment the sink was first configured."""

    name: str
    accepted: int
    exported: int
    spooled: int
    """On disk and not exported yet, or still open."""
    dropped: dict[str, int]
    """By reason: those of the sink (refused, undecodable, quota, missing) and those of the spool (see `Totals`)."""
    feedback_exported: int
    feedback_dropped: int
    lag_s: float
    """Age of the oldest record that waits."""
    retries: int
    last_error: str
    """Why the sink does not take what it is given; "" when it does."""

    @property
    def balanced(self) -> bool:
        return self.accepted == self.exported + self.spooled + sum(self.dropped.values())


@dataclass(frozen=True)
class LedgerSnapshot:
    at_ns: int = 0
    accepted: int = 0
    """Exchanges ever accepted."""
    open: int = 0
    """Accepted and not ended yet."""
    feedback: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Those that no sink can get."""
    corrupt: int = 0
    """Damaged stretches of spool, set aside."""
    torn: int = 0
    uncompleted: int = 0
    spool_bytes: int = 0
    sinks: tuple[SinkLedger, ...] = ()


class _File(msgspec.Struct, kw_only=True):
    version: int = 1
    retired: Totals = msgspec.field(default_factory=Totals)
    """Of directories that are gone."""
    directories: dict[str, DirectoryState] = {}
    leaving: list[str] = []
    """Directories that are counted in `retired` already, and about to be removed."""
    before: dict[str, int] = {}
    """By sink: exchanges that were over before it was configured."""


class Ledger:
    """Belongs to one thread at a time (the recorder holds a lock around it), except for `records_in`."""

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self._path = path
        self._aside = files.Aside(root / layout.CORRUPT)
        found = files.read_json(path, _File)
        self._file, self._is_new = found or _File(), found is None
        self.audits: dict[str, Audit] = {}
        for name in self._file.leaving:
            self._remove(name)
        self._file.leaving = []

    def advance(self) -> None:
        """Count what was written since."""
        for directory in layout.directories(self._root):
            if directory.name not in self.audits:
                state = self._file.directories.get(directory.name) or DirectoryState()
                self.audits[directory.name] = Audit(directory, state, self._aside)
        for audit in self.audits.values():
            audit.advance()

    def save(self) -> None:
        """Keep what must survive: before anything that was counted is removed. Raises `OSError`."""
        self._file.directories = {name: audit.kept for name, audit in self.audits.items()}
        files.write_json(self._path, self._file)
        for audit in self.audits.values():
            audit.unsaved = False

    def save_changes(self) -> None:
        if any(audit.unsaved for audit in self.audits.values()):
            self.save()

    def retire(self, name: str) -> None:
        """Remove a directory that every sink is done with; its counts stay."""
        audit = self.audits.pop(name)
        self._file.retired.add(audit.seen()[0])
        self._file.leaving.append(name)
        self.save()
        self._remove(name)
        self._file.leaving.remove(name)

    def evict(self, victims: Iterable[tuple[Audit, int]]) -> None:
        """Note that segments are about to be removed by the quota."""
        for audit, number in victims:
            audit.kept.evicted.append(number)
        self.save()

    def records_in(self, directory: str, first: int, last: int) -> tuple[int, bool]:
        """How many records the segments held, and whether the quota took them. For the sinks' threads."""
        audit = self.audits.get(directory)
        if audit is None:
            return 0, False
        return sum(audit.records.get(n, 0) for n in range(first, last + 1)), first in audit.kept.evicted

    def knows(self, sink: str) -> bool:
        """The sink was configured when the recorder last ran."""
        return sink in self._file.before

    def join(self, sinks: Sequence[tuple[Progress, bool]]) -> None:
        """Begin the account of sinks that are new (True), or were not configured when the recorder last ran."""
        before = {}
        for sink, is_new in sinks:
            known = self._file.before.get(sink.name)
            if known is None or is_new or self._is_new:
                account = self._account(sink, self._totals()[0], 0, 0)
                known = account.accepted - account.exported - account.spooled - sum(account.dropped.values())
            before[sink.name] = known
        self._file.before = before
        self._is_new = False
        self.save()

    def snapshot(self, sinks: Sequence[Progress], at_ns: int, uncompleted: int = 0) -> LedgerSnapshot:
        """The ledger now. Counts the files after it asked the sinks, so that no sink is ahead of it."""
        seen = [(sink, sink.state) for sink in sinks]
        self.advance()
        totals, still_open, spool_bytes = self._totals()
        return LedgerSnapshot(
            at_ns=at_ns,
            accepted=totals.accepted,
            open=still_open,
            feedback=totals.feedback,
            dropped=totals.dropped,
            corrupt=totals.corrupt,
            torn=totals.torn,
            uncompleted=uncompleted,
            spool_bytes=spool_bytes,
            sinks=tuple(
                self._account(sink, totals, self._file.before.get(sink.name, 0), at_ns, state) for sink, state in seen
            ),
        )

    def _totals(self) -> tuple[Totals, int, int]:
        totals, still_open, spool_bytes = self._file.retired.copy(), 0, 0
        for audit in self.audits.values():
            own, own_open = audit.seen()
            totals.add(own)
            still_open += own_open
            spool_bytes += sum(sizes(audit).values())
        return totals, still_open, spool_bytes

    def _account(
        self, sink: Progress, totals: Totals, before: int, at_ns: int, state: SinkState | None = None
    ) -> SinkLedger:
        state = state or sink.state
        dropped = Totals(dropped=dict(totals.dropped))
        for reason, count in state.dropped.items():
            dropped.drop(reason, count)
        spooled = 0
        for name, audit in self.audits.items():
            waiting, gone, reason = _waiting(audit, state.cursors.get(name) or Cursor(1), sink.claimed(name))
            spooled += waiting + audit.seen()[1]
            dropped.drop(reason, gone)
        oldest_ns = sink.oldest_ns
        return SinkLedger(
            name=sink.name,
            accepted=totals.accepted - before,
            exported=state.exported,
            spooled=spooled,
            dropped=dropped.dropped,
            feedback_exported=state.feedback_exported,
            feedback_dropped=state.feedback_dropped,
            lag_s=max(0, at_ns - oldest_ns) / 1e9 if oldest_ns else 0.0,
            retries=sink.retries,
            last_error=sink.last_error,
        )

    def _remove(self, name: str) -> None:
        """Out of sight in one step, then bit by bit; what a kill leaves is swept up by the janitor."""
        trash = self._root / f".trash-{name}"
        if (self._root / name).exists():
            (self._root / name).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def sizes(audit: Audit) -> dict[int, int]:
    """Bytes of each segment."""
    found = {}
    for number in audit.directory.segments():
        try:
            found[number] = Path(audit.directory.segment(number)).stat().st_size
        except FileNotFoundError:
            continue
    return found


def _waiting(audit: Audit, cursor: Cursor, claimed: Cursor | None) -> tuple[int, int, str]:
    """Records beyond `cursor`: those that can still be delivered, and those in segments that are gone, and why."""
    position = max(claimed or cursor, cursor, key=lambda at: (at.segment, at.offset))
    there = set(audit.directory.segments())
    waiting = gone = 0
    reason = "missing"
    for number, count in audit.records.items():
        if number < cursor.segment:
            continue
        done = cursor.records if number == cursor.segment else 0
        waiting += count - done
        if number not in there and number >= position.segment:
            unread = count - (position.records if number == position.segment else 0)
            waiting -= unread
            gone += unread
            if number in audit.kept.evicted:
                reason = "quota"
    return waiting, gone, reason
