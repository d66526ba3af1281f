"""Keeps the folder of the disk tier small, in one process at a time and off everybody's way."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .faults import Complaints
from .shelf import Shelf, ShelfFault

_EVERY_S: Final = 1.0
_SWEEP_EVERY_S: Final = 3600.0
_STEP: Final = 10
"""Entries that one transaction removes: a few milliseconds in which no other process can write."""
_PAUSE_S: Final = 0.004
"""Between two steps, unless the folder has grown far beyond its limit: about two thousand removals a second."""
_FAR: Final = 1.1


class Janitor:
    """A daemon thread. All processes have one; the one that holds the lock file works, and the kernel hands the lock on
    when that process dies, however it dies."""

    def __init__(self, shelf: Shelf, folder: Path, bytes_max: int, clock: Callable[[], int]) -> None:
        self._shelf = shelf
        self._folder = folder
        self._bytes_max = bytes_max
        self._clock = clock
        self._complaints = Complaints("housekeeping on disk")
        self._stop = threading.Event()
        self._swept = -_SWEEP_EVERY_S
        self.removed = 0
        """Entries that this process removed because they had expired or had to make room."""
        self.failed = 0

    def start(self) -> None:
        threading.Thread(target=self._run, name="cache-janitor", daemon=True).start()

    def stop(self) -> None:
        """Does not wait: the thread is gone after its step."""
        self._stop.set()

    def tidy(self) -> None:
        """Remove what has expired or is too much, then now and then the files that no row names."""
        while not self._stop.is_set() and (gone := self._shelf.cull(_STEP, self._clock())):
            self.removed += gone
            if self._shelf.volume() < _FAR * self._bytes_max:
                self._stop.wait(_PAUSE_S)
        if time.monotonic() - self._swept >= _SWEEP_EVERY_S:
            self._swept = time.monotonic()
            self._shelf.sweep(self._stop, _PAUSE_S)

    def _run(self) -> None:
        lock: int | None = None
        try:
            while not self._stop.wait(_EVERY_S):
                try:
                    lock = self._locked() if lock is None else lock
                    if lock is not None:
                        self.tidy()
                except (ShelfFault, OSError) as fault:
                    self.failed += 1
                    self._complaints.say(str(fault) if isinstance(fault, ShelfFault) else str(fault.strerror))
        finally:
            if lock is not None:
                os.close(lock)

    def _locked(self) -> int | None:
        """The lock, or None while another process has it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "janitor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock
