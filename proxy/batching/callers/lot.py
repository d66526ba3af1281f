"""Names in the queue: whose an item is, what may share a batch, what is asked alike, and what is asked again.

All are SHA-256 over parts that cannot be confused, so that neither a key nor a prompt can be read from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from ...exchange import Exchange
from ...http.headers import CREDENTIALS
from ...reply import RawHeaders

_SECOND: Final = 1_000_000_000
_HOURS_OF_CLASSES: Final = (1, 6, 24)
_encoder = msgspec.json.Encoder()


class Whom(NamedTuple):
    """Whom a call asks, and as whom."""

    upstream: str
    credential: str
    """`credentials.id`; "": the upstream has a key of its own, or needs none."""
    path: str
    headers: RawHeaders
    """Those that change what the upstream does."""

    def parts(self) -> list[object]:
        pairs = sorted([name.lower().decode("latin-1"), value.decode("latin-1")] for name, value in self.headers)
        return [self.upstream, self.credential, self.path, pairs]


def scope_of(exchange: Exchange) -> str:
    """Whose call it is: the proxy key's, else the credential's that it brought. Nobody else finds its items."""
    if exchange.key_id:
        return _digest(["key", exchange.key_id])
    fields = exchange.fields
    brought = [[name.decode(), fields[name].decode("latin-1")] for name in CREDENTIALS if name in fields]
    return _digest(["caller", brought])


def lot_of(whom: Whom, *, model: str, wait_ns: int) -> str:
    """Items of one lot may share a batch. Of those that can wait for long none is hurried by one that cannot."""
    hours = wait_ns / _SECOND / 3600
    urgency = sum(hours > bound for bound in _HOURS_OF_CLASSES)
    return _digest(["lot", *whom.parts(), model, urgency])


def question_of(whom: Whom, *, scope: str, body: bytes) -> str:
    """Pending items of one question are asked once. Only one caller's, with one key, in the same bytes."""
    return _digest(["question", *whom.parts(), scope], body)


def rejoin_by_key(scope: str, key: bytes) -> str:
    """How a caller finds its item again by the Idempotency-Key, which is for one call alone."""
    return _digest(["key", scope, key.decode("latin-1")])


def rejoin_by_body(question: str) -> str:
    """How a caller finds its item again by asking the same."""
    return _digest(["body", question])


def _digest(parts: Sequence[object], body: bytes = b"") -> str:
    """64 hex digits over `parts`, which JSON keeps apart, and the bytes after them."""
    hashed = hashlib.sha256(_encoder.encode(parts) + b"\n", usedforsecurity=False)
    hashed.update(body)
    return hashed.hexdigest()
