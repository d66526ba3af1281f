"""Answers as they come, a line each: what was answered before an evaluation was ended is not asked again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ..errors import FinetuneError


class _Head(msgspec.Struct, kw_only=True):
    evaluation: str
    began: str


class _Line(msgspec.Struct, kw_only=True):
    key: str
    value: msgspec.Raw


class Journal:
    """A file that is there while an evaluation is not done. A context manager, held by one process at a time.

    `id` names the evaluation and `began` says when it was begun, both the same when it is gone on with.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime], new_id: Callable[[], str] | None = None) -> None:
        self.path = path
        self.id = ""
        self.began = ""
        self._now = now
        self._new_id = new_id or (lambda: uuid.uuid4().hex)
        self._kept: dict[str, msgspec.Raw] = {}
        self._fd = -1

    def __enter__(self) -> Self:
        """Raises `FinetuneError`: somebody else holds it, or it cannot be read or written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._read()
            except BaseException:
                os.close(self._fd)
                raise
        except BlockingIOError as error:
            raise FinetuneError(f"Another process evaluates into {self.path}. Wait for it, or say --out.") from error
        except OSError as error:
            raise FinetuneError(f"{self.path} cannot be written: {error.strerror}.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> bytes | None:
        """JSON that was kept under `key`."""
        found = self._kept.get(key)
        return None if found is None or bytes(found) == b"null" else bytes(found)

    def keep(self, key: str, value: Any) -> None:
        """None: as if nothing had been kept. Raises `FinetuneError` when it cannot be written."""
        raw = msgspec.Raw(msgspec.json.encode(value))
        self._write(_Line(key=key, value=raw))
        self._kept[key] = raw

    def done(self) -> None:
        """There is a result: the next evaluation asks anew."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        os.ftruncate(self._fd, whole)  # a line that a kill cut off
        lines = data[:whole].splitlines()
        try:
            head = msgspec.json.decode(lines[0], type=_Head) if lines else None
            self._kept = {line.key: line.value for line in map(_line.decode, lines[1:])}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{self.path} is damaged: {error}. Remove it to ask everything again.") from error
        if head is None:
            head = _Head(evaluation=self._new_id(), began=self._now().isoformat(timespec="seconds"))
            self._write(head)
        self.id, self.began = head.evaluation, head.began

    def _write(self, line: msgspec.Struct) -> None:
        data = msgspec.json.encode(line) + b"\n"
        whole = os.fstat(self._fd).st_size
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            os.ftruncate(self._fd, whole)  # the next one would be written behind a half
            raise FinetuneError(f"{self.path} cannot be written: {error.strerror}.") from error


_line = msgspec.json.Decoder(_Line)


def key_of(question: Mapping[str, Any], *more: str) -> str:
    """The same for the same question alone."""
    return hashlib.blake2b(msgspec.json.encode([question, *more], order="sorted"), digest_size=16).hexdigest()
