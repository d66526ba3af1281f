"""What goes to an upstream and what comes back, free of any library's types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..reply import BodyStream, RawHeaders


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go. Hashable: the pool keeps one set of connections for each."""

    scheme: str
    host: str
    port: int
    ca_file: str | None = None
    """PEM file with the authorities to trust instead of the system's."""

    @property
    def authority(self) -> bytes:
        """The Host header's value: an IPv6 address in brackets, the port only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return (host if self.port == default else f"{host}:{self.port}").encode(
            "idna" if not host.isascii() else "ascii"
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; 0 means no limit."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    """From the last byte of the request to the first byte of the reply."""
    idle_s: float = 300.0
    """Between two pieces of a reply body."""
    total_s: float = 0.0


class RequestPieces(Protocol):
    async def read(self) -> bytes: ...


@dataclass(slots=True)
class UpstreamRequest:
    method: bytes
    target: bytes
    """Path and query as they go on the request line."""
    headers: RawHeaders
    """End-to-end fields and Host, in order; framing (Content-Length, Transfer-Encoding) is added by the connection."""
    body: bytes | RequestPieces = b""
    body_length: int | None = 0
    """Bytes to come when `body` is pieces and the caller declared them; None sends chunked."""


@dataclass(slots=True)
class UpstreamResponse:
    """The head of a final response. `body` is bytes when it had arrived whole together with the head."""

    status: int
    reason: bytes
    headers: RawHeaders
    body: bytes | BodyStream
