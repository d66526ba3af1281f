"""Keeps the spool in order: ends the accounts of dead workers, removes what every sink has passed, holds the quota."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from . import files, layout
from .audit import Audit
from .frames import Kind, frame, head
from .ledger import Ledger, Progress, sizes
from .record import decode_begin, encode
from .tail import Cursor

logger = logging.getLogger(__name__)

_UNBORN_AGE_MAX_S: Final = 60.0


class Janitor:
    """Belongs to the thread that has the ledger. Every step may be cut short by a kill and is then done again."""

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        sinks: Sequence[Progress],
        bytes_max: int,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._root = root
        self._ledger = ledger
        self._sinks = sinks
        self._bytes_max = bytes_max
        self._clock = clock
        self._throttle = files.Throttle()

    def sweep(self) -> None:
        """One round. Raises `OSError` when the disk refuses; the next round goes on from there."""
        self._ledger.advance()
        for audit in self._ledger.audits.values():
            if not audit.tail.ended and audit.directory.finished() is None:
                self._bury(audit)
        self._ledger.advance()
        self._ledger.save_changes()
        self._remove_passed()
        self._hold_quota()
        self._clear_hidden()

    def _bury(self, audit: Audit) -> None:
        """When the writer is dead, record what it left open as interrupted, exactly once, and finish its directory.

        Everything follows from the files, so that a recorder killed in the middle comes to the same result.
        """
        directory = audit.directory
        lock = files.try_lock(directory.path / layout.LOCK)
        if lock is None:
            return
        try:
            audit.advance()
            last = max(directory.segments(), default=audit.kept.segment)
            if audit.open:
                died_ns = os.stat(directory.segment(last)).st_mtime_ns
                last += 1
                files.replace(Path(directory.segment(last)), _interrupted(audit, died_ns))
            files.replace(directory.path / layout.FINISHED, str(last).encode())
        finally:
            os.close(lock)
        if audit.open:
            logger.warning(
                "Worker %d (process %d) died with %d exchanges open; they are recorded as interrupted.",
                directory.slot,
                directory.pid,
                len(audit.open),
            )

    def _remove_passed(self) -> None:
        for name, audit in list(self._ledger.audits.items()):
            cursors = [(sink.state.cursors.get(name) or Cursor(1)).segment for sink in self._sinks]
            passed = min([*cursors, audit.kept.segment])
            for number in audit.directory.segments():
                if number < passed:
                    os.unlink(audit.directory.segment(number))
            audit.forget(passed)
            last = audit.directory.finished()
            if last is not None and passed > last:
                self._ledger.retire(name)

    def _hold_quota(self) -> None:
        """Drop whole segments, the oldest first, but never one that may still grow."""
        excess = -self._bytes_max
        candidates = []
        for audit in self._ledger.audits.values():
            for number, size in sizes(audit).items():
                excess += size
                if number < audit.kept.segment:
                    path = audit.directory.segment(number)
                    candidates.append((os.stat(path).st_mtime_ns, number, size, path, audit))
        if excess <= 0:
            return
        victims = []
        for victim in sorted(candidates, key=lambda candidate: candidate[:2]):
            if excess <= 0:
                break
            victims.append(victim)
            excess -= victim[2]
        self._ledger.evict((victim[4], victim[1]) for victim in victims)
        for victim in victims:
            os.unlink(victim[3])
        if victims and self._throttle.due("quota"):
            logger.error(
                "The spool is over its quota of %d bytes: %d segments were dropped, with up to %d records that a sink "
                "has not taken yet. Is a sink down?",
                self._bytes_max,
                len(victims),
                sum(victim[4].records.get(victim[1], 0) for victim in victims),
            )

    def _clear_hidden(self) -> None:
        """Remove what was left by those who died while making or removing a directory."""
        for name in os.listdir(self._root):
            path = self._root / name
            if name.startswith(".trash-"):
                shutil.rmtree(path, ignore_errors=True)
            elif name.startswith(".") and layout.parse(path.with_name(name[1:])):
                with contextlib.suppress(FileNotFoundError):
                    if self._clock() - path.stat().st_mtime_ns < _UNBORN_AGE_MAX_S * 1e9:
                        continue
                    lock = files.try_lock(path / layout.LOCK)
                    if lock is not None:
                        shutil.rmtree(path, ignore_errors=True)
                        os.close(lock)


def _interrupted(audit: Audit, died_ns: int) -> bytes:
    """A last segment: the open exchanges at its head, then the record of each."""
    carries, records = [], []
    marker = audit.directory.marker
    for mark in audit.open.values():
        with contextlib.suppress(msgspec.DecodeError):
            if mark is not None:
                records.append(frame(marker, Kind.RECORD, encode(decode_begin(mark).interrupted(died_ns))))
                carries.append(frame(marker, Kind.CARRY, mark))
    return head(marker, len(carries)) + b"".join(carries) + b"".join(records)
