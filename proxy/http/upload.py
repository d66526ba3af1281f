"""A request body that goes out as it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import ClientFault
from .message import RequestPieces

Writable = Callable[[], "asyncio.Future[None] | None"]
"""What to wait for before writing more; None when the transport takes more at once."""


async def send_pieces(
    pieces: RequestPieces, length: int | None, transport: asyncio.WriteTransport, writable: Writable
) -> None:
    """Write `pieces` as a body of `length` bytes, or in chunked coding when it is None, at the upstream's pace.

    Raises `ClientFault` invalid_body when they are not `length` bytes, and whatever reading them raises.
    """
    sent = 0
    while (length is None or sent < length) and (piece := await pieces.read()):
        sent += len(piece)
        if length is not None and sent > length:
            raise _wrong_length("longer", length)
        transport.write(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        # After the last piece the reply is already due; it must not wait for this.
        if sent != length and (waiter := writable()) is not None:
            await waiter
    if length is None:
        transport.write(b"0\r\n\r\n")
    elif sent < length:
        raise _wrong_length("shorter", length)


def _wrong_length(how: str, length: int) -> ClientFault:
    return ClientFault(f"The request body is {how} than its Content-Length of {length}.", code="invalid_body")
