"""`Reply`: a status, headers and a body that is read once and closed exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from .openai.facts import Read

RawHeaders = list[tuple[bytes, bytes]]
"""Header fields as they were on the wire: order, case and duplicates kept, values without surrounding whitespace."""


class BodyStream(Protocol):
    """A reply body that is still arriving."""

    async def read(self) -> bytes:
        """The next bytes as they came, never empty before the end; b"" at the clean end.

        Raises `UpstreamFault` when the upstream breaks off or stalls. After an error or the end, only `aclose` follows.
        """

    async def aclose(self) -> None:
        """Let go of what the body holds. Closing before the end abandons the rest. Safe to call again."""


class Tunnel(Protocol):
    """The upstream's side of a WebSocket: whole messages, text as str and binary as bytes."""

    protocol: str | None
    """The subprotocol that the upstream chose."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when the upstream closed, after which `close_code` says why."""

    async def send(self, message: str | bytes) -> None: ...

    async def aclose(self, code: int = 1000, reason: bytes = b"") -> None:
        """Close the upstream's side with the caller's code. Safe to call again."""

    @property
    def close_code(self) -> int: ...


@dataclass(slots=True)
class Reply:
    """What goes back to the caller. `body` is bytes when it is already whole."""

    status: int
    headers: RawHeaders = field(default_factory=list)
    body: bytes | BodyStream | Tunnel = b""
    reason: bytes = b""
    trailing: bytes = b""
    """Bytes that Penstock itself adds after the upstream's last one (the stream summary)."""
    read: Read | None = None
    """What the body says, if somebody looked already. Whoever changes the body makes it None."""
    sent: Callable[[], object] | None = None
    """Called once a body that was whole has been handed over to a caller who is still there."""


def json_reply(status: int, body: Mapping[str, Any]) -> Reply:
    return Reply(status, [(b"Content-Type", b"application/json")], msgspec.json.encode(body))


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of `name` (given in lower case), or None."""
    for key, value in headers:
        if len(key) == len(name) and key.lower() == name:
            return value
    return None
