"""Callers' own batches: noting that there is one, from what the provider said of it, so that its lines are recorded.

A batch is noted under an id made of its upstream and its id there, however often and wherever it is seen, and stays
noted for longer than any provider has its files: so its lines are recorded once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .provider import MARK

if TYPE_CHECKING:
    from sqlalchemy import Connection

OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
YOUNG_S: Final = 31 * 86_400
"""Older batches are not noted: their files are gone, or they were recorded and are forgotten."""
REMEMBERED_S: Final = 40 * 86_400
"""Since a batch was made."""
_SECOND: Final = 1_000_000_000
_TEXT_MAX: Final = 256


class OwnBatch(msgspec.Struct, frozen=True):
    """A batch as its provider shows it, as far as it matters here."""

    id: str
    object: str
    endpoint: str
    input_file_id: str
    status: str
    created_at: int
    expires_at: int | None = None
    completion_window: str = "24h"
    metadata: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def tags(self) -> dict[str, str]:
        return {name: value for name, value in (self.metadata or {}).items() if isinstance(value, str)}


_decoder = msgspec.json.Decoder(OwnBatch)


def read_batch(data: bytes) -> OwnBatch | None:
    """None for what is no batch, and for one that Penstock made itself."""
    try:
        found = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    is_own = MARK not in (found.metadata or {})
    texts = (found.id, found.endpoint, found.input_file_id, found.status, found.completion_window)
    is_plain = all(text.isascii() and text.isprintable() and len(text) <= _TEXT_MAX for text in texts)
    return found if found.object == "batch" and found.id and is_own and is_plain else None


def row_id(upstream: str, batch_id: str) -> str:
    """`batches.id` of a caller's own batch."""
    return "own_" + hashlib.sha256(f"{upstream}\n{batch_id}".encode()).hexdigest()[:40]


def note(
    connection: Connection,
    batch: OwnBatch,
    *,
    upstream: str,
    scope: str,
    credential: str,
    sealed: Mapping[str, bytes],
    context: bytes,
    now_ns: int,
    poll_s: float,
) -> None:
    """Have the batch watched from now on. One that is over is looked after at once; one that was noted stays as it is.

    `credential`: the id of the caller's in `sealed`; "": the upstream has a key of its own.
    """
    from sqlalchemy import insert, select, update

    from ..sealing import keep
    from ..tables import batches

    name = row_id(upstream, batch.id)
    state = connection.scalar(select(batches.c.state).where(batches.c.id == name))
    if state is not None:
        if state == "watched" and batch.is_over:
            connection.execute(update(batches).where(batches.c.id == name).values(poll_at_ns=now_ns))
        return
    if batch.created_at * _SECOND < now_ns - YOUNG_S * _SECOND:
        return
    if credential:
        keep(connection, sealed, now_ns)
    connection.execute(
        insert(batches).values(
            id=name,
            kind="caller",
            state="watched",
            scope=scope,
            upstream=upstream,
            credential=credential,
            path=batch.endpoint,
            provider_id=batch.id,
            input_file_id=batch.input_file_id,
            status=batch.status,
            completion_window=batch.completion_window,
            created_ns=batch.created_at * _SECOND,
            expires_ns=(batch.expires_at or 0) * _SECOND,
            poll_at_ns=now_ns if batch.is_over else now_ns + int(poll_s * _SECOND),
            context=context,
        )
    )
