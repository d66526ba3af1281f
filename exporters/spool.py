"""The worker's end of the spool: one write(2) for each mark and record, into files that outlive the process.

What is guaranteed: when `append` has returned True the record is in the page cache, and no kill of any process loses
it (`fsync` says what a power cut may take). A killed writer leaves a begin mark for every open exchange, because a new
segment starts with the marks of all that are open and appears in one step. When the disk refuses, the call goes on: the
exchange is counted as dropped, half a frame is cut off again, and writing resumes when there is room.

What leaves no trace in a segment (a begin mark that could not be written) is kept in `stats` (`stats.py`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

import msgspec

from . import files, layout
from .frames import FRAME_BYTES_MAX, Kind, frame, head, header
from .record import Begin, CallRecord, Feedback, encode
from .stats import Stats

logger = logging.getLogger(__name__)

Fsync = Literal["never", "interval", "always"]

_RETRY_S: Final = 1.0


class SpoolUnwritable(Exception):
    """The spool cannot be used at all (permissions, not a directory): a mistake to mend before serving."""


class SpoolWriter:
    """Appends to one directory of its own. Belongs to one thread, which may be an event loop's: nothing here waits,
    except for the disk with `fsync="always"`.

    Call `tick` about once a second. Raises `SpoolUnwritable` when made on a place that cannot be written; a disk that
    is merely full does not stop it.
    """

    def __init__(
        self,
        root: Path,
        slot: int,
        *,
        fsync: Fsync = "never",
        segment_bytes_max: int = 64 * 1024 * 1024,
        segment_age_max_s: float = 60.0,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        defer: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        """`defer` runs what it is given a moment later (an event loop's `call_soon`): the marks of one turn are then
        written together, or with the next record. None writes each mark at once.
        """
        self._root = root
        self._slot = slot
        self._fsync = fsync
        self._segment_bytes_max = segment_bytes_max
        self._segment_age_max_s = segment_age_max_s
        self._clock = clock
        self._monotonic = monotonic
        self._throttle = files.Throttle(monotonic=monotonic)
        self.accepted = 0
        self.written = 0
        self.dropped: Counter[str] = Counter()
        """By reason: disk_full, io_error, too_large."""
        self._open: dict[str, bytes] = {}
        self._defer = defer
        self._held: list[str] = []
        """Open exchanges whose marks wait for the end of this turn."""
        self._unmarked: set[str] = set()
        self._traceless = Stats()
        self._directory: layout.SpoolDirectory | None = None
        self._lock_fd = self._stats_fd = self._fd = -1
        self._number = self._size = self._head_size = 0
        self._born_s = 0.0
        self._rotation_due = False
        self._retry_at_s = float("-inf")
        self._unsynced: list[int] = []
        self._dirty = False
        self._syncer: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self._last_errno: int | None = None
        self._closed = False
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._create_directory()
        except OSError as error:
            if error.errno in files.NO_ROOM or error.errno in (errno.EMFILE, errno.ENFILE, errno.EIO):
                self._complain("start a spool directory", error)
                self._retry_at_s = monotonic() + _RETRY_S
            else:
                raise SpoolUnwritable(f"Cannot write to the spool at {root}: {error.strerror}.") from error

    @property
    def open_exchanges(self) -> int:
        return len(self._open)

    @property
    def directory(self) -> layout.SpoolDirectory | None:
        """Where this writer writes; None as long as a full disk keeps it from starting."""
        return self._directory

    def begin(self, begin: Begin) -> bool:
        """Mark an exchange as accepted. False when only memory (and `stats`) knows of it."""
        payload = encode(begin)
        self.accepted += 1
        if self._fd < 0:
            self._reopen()  # Before this exchange is open, or the new segment would name it already.
        self._open[begin.request_id] = payload
        self._held.append(begin.request_id)
        if self._defer is None or self._fd < 0:
            return self.flush()
        if len(self._held) == 1:
            self._defer(self.flush)
        return True

    def flush(self) -> bool:
        """Write the marks that wait. False when only memory (and `stats`) knows of these exchanges."""
        held, self._held = self._held, []
        if not held:
            return True
        reason = self._write(self._marks(held)) if self._fd >= 0 else "no segment"
        return reason is None or self._leave_unmarked(held)

    def _marks(self, held: list[str]) -> bytes:
        assert self._directory is not None
        return b"".join([frame(self._directory.marker, Kind.BEGIN, self._open[name]) for name in held])

    def _leave_unmarked(self, held: list[str]) -> Literal[False]:
        self._unmarked.update(held)
        self._put_stats(self._traceless)
        return False

    def append(self, record: CallRecord) -> bool:
        """Write the record of an exchange. False when it was dropped, which is counted."""
        payload = encode(record)
        if len(payload) > FRAME_BYTES_MAX:
            payload = encode(msgspec.structs.replace(record, request_body=None, response_body=None, truncated=True))
        reason = self._put(Kind.RECORD, payload)
        self._open.pop(record.request_id, None)
        unmarked = record.request_id in self._unmarked
        if unmarked:
            self._unmarked.discard(record.request_id)
        if reason is None:
            self.written += 1
            if unmarked:
                self._put_stats(self._traceless)
            if self._size >= self._segment_bytes_max or self._is_old():
                self._rotate()
            return True
        self.dropped[reason] += 1
        if unmarked:
            full = reason == "disk_full"
            self._put_stats(
                self._traceless._replace(
                    disk_full=self._traceless.disk_full + full, io_error=self._traceless.io_error + (not full)
                )
            )
        else:
            self._rotation_due = True  # The next segment's head will not name it, which is how it is known as dropped.
        return False

    def _put(self, kind: int, payload: bytes) -> str | None:
        """A frame, behind the marks that wait: one write for all. None when it is in a segment, else why it is not."""
        if len(payload) > FRAME_BYTES_MAX:
            return "too_large"
        if self._fd < 0 and not self._reopen():
            return _reason(self._last_errno)
        assert self._directory is not None
        start = header(self._directory.marker, kind, payload)
        if not self._held:
            return self._write(start, payload)
        held, self._held = self._held, []
        reason = self._write(self._marks(held) + start, payload)
        if reason is not None:
            self._leave_unmarked(held)
        return reason

    def feedback(self, feedback: Feedback) -> bool:
        """Write a piece of feedback. False when it was dropped: tell the caller, who may try again."""
        reason = self._put(Kind.FEEDBACK, encode(feedback))
        if reason is not None:
            self.dropped["feedback_" + reason] += 1
        return reason is None

    def tick(self) -> None:
        """Rotate what is due, and with `fsync="interval"` let a thread bring to disk what was written."""
        if self._closed:
            return
        if self._fd < 0:
            self._reopen()
        elif (self._rotation_due or self._is_old()) and self._monotonic() >= self._retry_at_s:
            self._rotate()
        if self._fsync == "interval" and (self._dirty or self._unsynced):
            self._sync_behind()

    def close(self) -> None:
        """Let go of the directory. Exchanges still open will be recorded as interrupted. Safe to call again."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        if self._syncer:
            self._syncer.shutdown(wait=True)
        for fd in (*self._unsynced, self._fd):
            if fd >= 0:
                if self._fsync != "never":
                    self._sync(fd)
                os.close(fd)
        for fd in (self._stats_fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._unsynced, self._fd = [], -1

    # Writing

    def _write(self, start: bytes, payload: bytes = b"") -> str | None:
        """None when both pieces are in the open segment, else why they are not."""
        size = len(start) + len(payload)
        try:
            written = os.writev(self._fd, (start, payload))
            if written != size:
                _write_all(self._fd, memoryview(start + payload)[written:])
        except OSError as error:
            self._cut_back(error)
            return _reason(error.errno)
        self._size += size
        self._dirty = True
        if self._fsync == "always":
            self._sync(self._fd)
        return None

    def _cut_back(self, error: OSError) -> None:
        """Take away the half of a frame that the disk took, or leave the segment as it is for a new one."""
        self._complain("write to the spool", error)
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as second:
            self._complain("cut back a spool segment", second)
            os.close(self._fd)
            self._fd = -1
        if error.errno not in files.NO_ROOM:
            self._rotation_due = True

    def _is_old(self) -> bool:
        return self._size > self._head_size and self._monotonic() - self._born_s >= self._segment_age_max_s

    def _reopen(self) -> bool:
        """A segment to write to, tried at most once a second."""
        if self._closed or self._monotonic() < self._retry_at_s:
            return False
        if self._directory is not None:
            return self._rotate()
        try:
            self._create_directory()
        except OSError as error:
            self._complain("start a spool directory", error)
            self._retry_at_s = self._monotonic() + _RETRY_S
            return False
        return True

    # Segments

    def _create_directory(self) -> None:
        """A directory appears with its lock held and its first segment in place, so that it is never taken for dead."""
        marker = os.urandom(8)
        name = layout.directory_name(self._slot, self._clock(), os.getpid(), marker)
        hidden = self._root / f".{name}"
        fds: list[int] = []
        try:
            hidden.mkdir(mode=0o700)  # What callers wrote is for nobody else on the machine.
            lock_fd = files.try_lock(hidden / layout.LOCK)
            assert lock_fd is not None, "a new file is locked by nobody"
            fds.append(lock_fd)
            fds.append(os.open(hidden / layout.STATS, os.O_RDWR | os.O_CREAT, 0o644))
            stats = self._traceless._replace(open=0)  # All that are open are in the head of the first segment.
            _write_all(fds[1], memoryview(stats.pack()))
            made = layout.SpoolDirectory(hidden, self._slot, 0, 0, marker)
            fd, size = self._create_segment(made, 1)
            fds.append(fd)
            os.rename(hidden, self._root / name)
        except OSError:
            for fd in fds:
                os.close(fd)
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        self._lock_fd, self._stats_fd = fds[0], fds[1]
        self._directory = layout.parse(self._root / name)
        self._take_segment(fds[2], 1, size)

    def _create_segment(self, directory: layout.SpoolDirectory, number: int) -> tuple[int, int]:
        """A segment that begins with the marks of all open exchanges, and its size. Appears in one step, or not."""
        path = directory.segment(number)
        temporary = f"{directory.path}/.{number:010}.seg"
        marks = [frame(directory.marker, Kind.CARRY, payload) for payload in self._open.values()]
        data = head(directory.marker, len(marks)) + b"".join(marks)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        try:
            _write_all(fd, memoryview(data))
            if self._fsync == "always":
                os.fsync(fd)
            os.rename(temporary, path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        return fd, len(data)

    def _take_segment(self, fd: int, number: int, size: int) -> None:
        self._fd, self._number, self._size, self._head_size = fd, number, size, size
        self._born_s = self._monotonic()
        self._rotation_due = False
        self._dirty = True
        if self._unmarked:
            self._unmarked.clear()
            self._put_stats(self._traceless)

    def _rotate(self) -> bool:
        assert self._directory is not None
        self.flush()
        try:
            fd, size = self._create_segment(self._directory, self._number + 1)
        except OSError as error:
            self._complain("start a spool segment", error)
            self._retry_at_s = self._monotonic() + _RETRY_S
            return False
        if self._fd >= 0:
            if self._fsync == "interval":
                self._unsynced.append(self._fd)
            else:
                os.close(self._fd)
        self._take_segment(fd, self._number + 1, size)
        return True

    # Counting and syncing

    def _put_stats(self, stats: Stats) -> None:
        self._traceless = stats._replace(open=len(self._unmarked))
        if self._stats_fd >= 0:
            try:
                os.pwrite(self._stats_fd, self._traceless.pack(), 0)
            except OSError as error:
                self._complain("write spool stats", error)

    def _sync_behind(self) -> None:
        if self._syncing and not self._syncing.done():
            return
        self._syncer = self._syncer or ThreadPoolExecutor(1, thread_name_prefix="spool-fsync")
        sealed, self._unsynced = self._unsynced, []
        current = os.dup(self._fd) if self._fd >= 0 else -1
        self._dirty = False
        self._syncing = self._syncer.submit(self._sync_and_close, [*sealed, current])

    def _sync_and_close(self, fds: list[int]) -> None:
        for fd in fds:
            if fd >= 0:
                self._sync(fd)
                os.close(fd)

    def _sync(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError as error:
            self._complain("sync the spool", error)

    def _complain(self, what: str, error: OSError) -> None:
        self._last_errno = error.errno
        if self._throttle.due(what):
            logger.error("Cannot %s at %s: %s. Calls go on; what is lost is counted.", what, self._root, error.strerror)


def _reason(number: int | None) -> str:
    return "disk_full" if number in files.NO_ROOM else "io_error"


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
