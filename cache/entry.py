"""`Entry`: one reply that was paid for and may be given again, and what it takes to know whether it may."""

from __future__ import annotations

from typing import Final

import msgspec

VERSION: Final = 1


class Entry(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """A whole reply of the upstream. Immutable, so that tiers and callers share one object.

    Encoded as a MessagePack array: fields are only ever added at the end and with a default. Nothing in it can be part
    of a cycle, so the garbage collector need not walk through a hundred thousand of them.
    """

    request_id: str
    """Of the exchange that was paid for."""
    created_ns: int
    expires_ns: int
    """Unix time from which on it is not given any more; 0: never."""
    endpoint: str
    """chat, completions, responses, embeddings or moderations."""
    upstream: str
    provider: str
    model: str
    """As it was asked for."""
    namespace: str = ""
    """The caller's own, or one that all share; "" for the one everybody has for himself."""
    stream: bool = False
    """`body` is an event stream; else it is JSON."""
    has_usage: bool = True
    """A stream that ends without its usage cannot serve a caller who asks for it."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Those of the upstream's that go with the body, whoever gets it."""
    body: bytes = b""
    """Without content coding."""
    version: int = VERSION

    @property
    def size(self) -> int:
        """Bytes it takes in memory, nearly."""
        return len(self.body) + 700

    def is_fresh(self, now_ns: int, max_age_s: float | None = None) -> bool:
        """Neither expired nor older than the caller takes."""
        if self.expires_ns and now_ns >= self.expires_ns:
            return False
        return max_age_s is None or now_ns - self.created_ns <= max_age_s * 1e9
