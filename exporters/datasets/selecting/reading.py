"""Rows out of a stream of lines of JSON, a piece at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import msgspec

from ..example import Row

PIECE_BYTES: Final = 1024 * 1024

# Not strict: older servers write 64-bit integers as text.
_decoder: Final = msgspec.json.Decoder(Row, strict=False)


def decoded_lines(stream: io.IOBase) -> Iterator[Row]:
    """The rows of a stream of JSONCompactEachRow. Raises `msgspec.DecodeError` for what is none, and errors of reading.

    Text that is not UTF-8, which the store can hold and JSON cannot, is mended with replacement characters.
    """
    rest = b""
    while piece := stream.read(PIECE_BYTES):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield from _decoded(rest + piece[:cut])
            rest = piece[cut:]
        else:
            rest += piece
    if rest:
        yield from _decoded(rest)


def _decoded(lines: bytes) -> Iterator[Row]:
    try:
        yield from _decoder.decode_lines(lines)
        return
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    yield from _decoder.decode_lines(lines.decode("utf-8", "replace"))
