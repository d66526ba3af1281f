"""How far a sink has come, in one small file for each, replaced in one step.

Before a batch is written its exact ranges and token are noted as the intent; afterwards the cursors move and the intent
goes, together with the counts. A crash in between is followed by the same batch with the same token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from . import files
from .tail import Cursor


class Range(msgspec.Struct, frozen=True, array_like=True):
    directory: str
    segment: int
    start: int
    end: int


class Intent(msgspec.Struct, frozen=True):
    """A batch that is being written, and what will be true when it has been."""

    token: str
    ranges: list[Range]
    cursors: dict[str, Cursor]
    dropped: dict[str, int] = {}
    """What was found undeliverable while the batch was gathered."""


class SinkState(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    cursors: dict[str, Cursor] = {}
    """By directory name: what is done with. A directory without a cursor begins at its first segment."""
    intent: Intent | None = None
    exported: int = 0
    dropped: dict[str, int] = {}
    """By reason: refused, undecodable, quota, missing."""
    feedback_exported: int = 0
    feedback_dropped: int = 0


def token_of(ranges: Sequence[Range]) -> str:
    """The deduplication token of a batch: the same for the same ranges, 32 hex digits."""
    return hashlib.blake2b(msgspec.json.encode(ranges), digest_size=16).hexdigest()


def checkpoint_file(sink: str) -> str:
    """The name of a sink's file; with "*", the pattern of all of them."""
    return f"sink-{quote(sink, safe='*')}.json"


class Checkpoint:
    """The file of one sink. `state` is replaced whole, so that another thread may look at it."""

    def __init__(self, directory: Path, sink: str) -> None:
        self._path = directory / checkpoint_file(sink)
        found = files.read_json(self._path, SinkState)
        self.is_new = found is None
        self.state = found or SinkState()

    def save(self, state: SinkState) -> None:
        """Raises `OSError`; the state is then as it was."""
        files.write_json(self._path, state)
        self.state = state
