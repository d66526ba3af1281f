"""Records from elsewhere than a worker, as one whole life of a writer: it appears in the spool in one step, finished.

The maker calls `stage`, sees to it that a kill from now on is followed by `publish`, and calls that. What is published
is not staged any more, so it cannot be published again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from . import layout
from .frames import FRAME_BYTES_MAX, Kind, head, header
from .record import decode_record, encode

_FIRST: Final = 1


def stage(folder: Path, records: Iterable[bytes], *, start_ns: int, slot: int = 0) -> None:
    """Write encoded `CallRecord`s into a spool directory below `folder`; on disk when this returns.

    `folder` is made, on the file system of the spool, and emptied before. A record that no frame can hold loses its
    bodies. There are no begin marks: an exchange is accepted by its record too. Raises `OSError`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    marker, pid = os.urandom(8), os.getpid()
    path = folder / layout.directory_name(slot, start_ns, pid, marker)
    path.mkdir(mode=0o700, parents=True)
    segment = layout.SpoolDirectory(path, slot, start_ns, pid, marker).segment(_FIRST)
    with open(segment, "wb") as file:
        file.write(head(marker, 0))
        for record in records:
            payload = record if len(record) <= FRAME_BYTES_MAX else _without_bodies(record)
            file.write(header(marker, Kind.RECORD, payload))
            file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    with open(path / layout.FINISHED, "wb") as file:
        file.write(str(_FIRST).encode())
        file.flush()
        os.fsync(file.fileno())
    for made in (path, folder, folder.parent):
        _sync(made)


def publish(folder: Path, spool: Path) -> bool:
    """Move what is staged in `folder` into the spool; False when that was done before. On disk when this returns.

    Two may do it at once: one of them does. Raises `OSError`; what was staged still is then.
    """
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    moved = False
    for directory in layout.directories(folder):
        try:
            directory.path.rename(spool / directory.name)
            moved = True
        except FileNotFoundError:
            continue
    _sync(spool)
    shutil.rmtree(folder, ignore_errors=True)
    return moved


def _without_bodies(record: bytes) -> bytes:
    return encode(msgspec.structs.replace(decode_record(record), request_body=None, response_body=None, truncated=True))


def _sync(folder: Path) -> None:
    """A name is on disk only when the folder that has it is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
