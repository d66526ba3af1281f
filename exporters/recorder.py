"""The recorder: brings what the workers spooled to every sink, and keeps the ledger."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Final

import msgspec

from . import files, layout
from .checkpoint import Checkpoint, checkpoint_file
from .completion import Completion
from .delivery import Delivery, Limits
from .gathering import Gatherer
from .janitor import Janitor
from .ledger import Ledger, LedgerSnapshot
from .record import Complete
from .sink import Sink
from .tail import Cursor

logger = logging.getLogger(__name__)

STATUS_FILE: Final = "recorder-status.json"


class RecorderBusy(Exception):
    """Another recorder works on this spool."""


class Recorder:
    """One for each spool. `run` blocks; every sink works in a thread of its own and is closed at the end.

    The checkpoints must stay with the spool: without them everything that is still there is exported again.
    """

    def __init__(
        self,
        spool_root: Path,
        checkpoint_dir: Path,
        sinks: Sequence[Sink],
        complete: Complete,
        *,
        limits: Limits | None = None,
        bytes_max: int = 10 * 1024 * 1024 * 1024,
        sweep_s: float = 1.0,
        lock_timeout_s: float = 30.0,
        drain_timeout_s: float = 10.0,
        clock: Callable[[], int] = time.time_ns,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if len({sink.name for sink in sinks}) != len(sinks):
            raise ValueError("Two sinks have the same name.")
        self._root = spool_root
        self._checkpoints = checkpoint_dir
        self._sinks = sinks
        self._limits = limits or Limits()
        self._bytes_max = bytes_max
        self._sweep_s = sweep_s
        self._lock_timeout_s = lock_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        self._uniform = uniform
        self._completion = Completion(complete, [sink.name for sink in sinks], clock=clock)
        self._deliveries: list[Delivery] = []
        self._ledger: Ledger | None = None
        self._janitor: Janitor | None = None
        self._guard = RLock()
        self._throttle = files.Throttle()
        self._snapshot = LedgerSnapshot()

    def run(self, stop: Event) -> None:
        """Work until `stop` is set, then deliver what is left, for `drain_timeout_s` at most.

        Raises `RecorderBusy` when another recorder does not let go of the spool, `OSError` when it cannot be used.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        lock = self._acquire(stop)
        if lock is None:
            return
        try:
            self._open()
            ending = Event()
            threads = [
                Thread(target=delivery.run, args=(ending,), name=f"sink-{delivery.name}", daemon=True)
                for delivery in self._deliveries
            ]
            for thread in threads:
                thread.start()
            try:
                while not stop.wait(self._sweep_s):
                    self._sweep()
                self._sweep()
            finally:
                # Whatever it was that ended this: a sink that works on would keep the process, or work without a lock.
                ending.set()
                self._wait_for(threads)
            self._sweep()
        finally:
            os.close(lock)

    def _wait_for(self, threads: list[Thread]) -> None:
        deadline = time.monotonic() + self._drain_timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logger.warning("%s does not end; what it has not delivered waits in the spool.", thread.name)

    def status(self) -> LedgerSnapshot:
        """The ledger at this moment, exact. Safe from any thread; zeros before `run` has begun."""
        with self._guard:
            if self._ledger is not None:
                self._snapshot = self._ledger.snapshot(self._deliveries, self._clock(), self._completion.uncompleted)
            return self._snapshot

    @property
    def last_status(self) -> LedgerSnapshot:
        """The ledger as of the last sweep, for free."""
        return self._snapshot

    def _acquire(self, stop: Event) -> int | None:
        deadline = time.monotonic() + self._lock_timeout_s
        while (lock := files.try_lock(self._root / "recorder.lock")) is None:
            if time.monotonic() >= deadline:
                raise RecorderBusy(
                    f"Another recorder works on {self._root}. Stop it, or choose another data directory."
                )
            if stop.wait(0.1):
                return None
        return lock

    def _open(self) -> None:
        with self._guard:
            ledger = Ledger(self._root, self._checkpoints / "ledger.json")
            ledger.advance()
            joining = []
            for sink in self._sinks:
                checkpoint = Checkpoint(self._checkpoints, sink.name)
                is_new = checkpoint.is_new
                if is_new or not ledger.knows(sink.name):
                    cursors = _from_oldest(self._root, checkpoint.state.cursors)
                    checkpoint.save(msgspec.structs.replace(checkpoint.state, cursors=cursors))
                joining.append((self._delivery(sink, checkpoint, ledger), is_new))
            ours = {checkpoint_file(sink.name) for sink in self._sinks}
            for path in self._checkpoints.glob(checkpoint_file("*")):
                if path.name not in ours:
                    logger.info("The checkpoint %s belongs to no configured sink and is ignored.", path)
            self._deliveries = [delivery for delivery, _ in joining]
            ledger.join(joining)
            self._janitor = Janitor(self._root, ledger, self._deliveries, self._bytes_max, self._clock)
            self._ledger = ledger

    def _delivery(self, sink: Sink, checkpoint: Checkpoint, ledger: Ledger) -> Delivery:
        gatherer = Gatherer(sink.name, self._root, self._completion, ledger.records_in)
        return Delivery(sink, gatherer, checkpoint, self._limits, uniform=self._uniform)

    def _sweep(self) -> None:
        """Dead workers, old segments, the quota, the status file. What the disk refuses is done at the next sweep."""
        with self._guard:
            try:
                assert self._janitor is not None
                self._janitor.sweep()
                status = msgspec.json.encode(dataclasses.asdict(self.status()))
                files.replace(self._root / STATUS_FILE, status)
            except OSError as error:
                if self._throttle.due("sweep"):
                    logger.error("Cannot keep the spool at %s in order: %s. Trying again.", self._root, error)


def _from_oldest(root: Path, cursors: dict[str, Cursor]) -> dict[str, Cursor]:
    """Cursors for a sink that is new or was left out for a while: what is gone by now is none of its business."""
    found = {}
    for directory in layout.directories(root):
        oldest = Cursor(min(directory.segments(), default=1))
        cursor = cursors.get(directory.name, oldest)
        found[directory.name] = cursor if cursor.segment >= oldest.segment else oldest
    return found
