"""The answers that a relabelling has so far, on disk: a run that is killed goes on from them and asks nothing twice.

One JSON line each, behind a line that says what they answer. A line that was cut off by a kill is cut away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from ... import files
from ..errors import DatasetError
from .asking import Answer

SYNCED_EVERY: Final = 20
"""Answers; a power cut costs as many."""

_decode: Final = msgspec.json.Decoder(Answer).decode
_encode: Final = msgspec.json.Encoder().encode


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers are for. A run with another one does not go on from them."""

    dataset: str
    """SHA-256 of the manifest."""
    model: str
    version: int = 1


class Answers:
    """By request id. Held by one process at a time; close it, or use it as a context manager of `contextlib.closing`.

    Raises `DatasetError`: another run is at work, or the answers are those of other questions. `OSError` of the disk.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self._by_id: dict[str, tuple[int, int]] = {}
        self._unsynced = 0
        self.usd = 0.0
        """Of all that is here, as far as it is known."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = files.try_lock(path)
        if lock is None:
            raise DatasetError(f"Another run is at work on {path}.")
        self._file = lock
        try:
            os.fchmod(self._file, 0o600)
            self._end = self._read(head)
        except BaseException:
            os.close(self._file)
            raise

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, request_id: str) -> Answer | None:
        if (place := self._by_id.get(request_id)) is None:
            return None
        return _decode(os.pread(self._file, place[1], place[0]))

    def add(self, answer: Answer) -> None:
        """On return a killed process loses it no more."""
        line = _encode(answer) + b"\n"
        self._append(line)
        self._note(answer, self._end - len(line), len(line))
        self._unsynced += 1
        if self._unsynced >= SYNCED_EVERY:
            self.sync()

    def sync(self) -> None:
        """On return a power cut loses nothing either."""
        os.fdatasync(self._file)
        self._unsynced = 0

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """They are in a dataset now."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.pwrite(self._file, line[written:], self._end + written)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)

    def _note(self, answer: Answer, begin: int, size: int) -> None:
        self._by_id[answer.request_id] = (begin, size)
        self.usd += answer.usd or 0.0

    def _read(self, head: Head) -> int:
        """Where the whole lines end."""
        with open(self._file, "rb", closefd=False) as file:
            first = file.readline()
            if not first.endswith(b"\n"):
                os.ftruncate(self._file, 0)
                self._end = 0
                self._append(_encode(head) + b"\n")
                return self._end
            self._check(first, head)
            end = len(first)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    self._note(_decode(line), end, len(line))
                except msgspec.DecodeError as error:
                    raise DatasetError(f"{self.path} is damaged. Remove it to ask everything anew.") from error
                end += len(line)
        os.ftruncate(self._file, end)
        return end

    def _check(self, line: bytes, head: Head) -> None:
        try:
            found = msgspec.json.decode(line, type=Head)
        except msgspec.DecodeError as error:
            raise DatasetError(f"{self.path} is damaged. Remove it to ask everything anew.") from error
        if found != head:
            what = f"the model {found.model}" if found.model != head.model else "the dataset as it was before"
            raise DatasetError(
                f"{self.path} holds answers for {what}. Remove it to ask anew, or choose another name with --as."
            )
