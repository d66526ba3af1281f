"""Content codings (RFC 9110 section 8.4.1) undone piece by piece, within a bound on what comes out.

Metering reads a decoded copy while the coded bytes travel on, so a decoder never raises: it says that it stopped.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import brotli
import zstandard

OUTPUT_BYTES_MAX: Final = 64 * 1024 * 1024
CODINGS_MAX: Final = 4
_ZSTD_WINDOW_MAX: Final = 8 * 1024 * 1024  # RFC 9659: what a content coding may ask of a receiver
_ZSTD_SLICE: Final = 256  # bytes; four of them can stand for 128 KiB, so a slice bounds how far one call overshoots


class Decoder(Protocol):
    """Undoes one body's codings. After `truncated` or `broken` it gives nothing more."""

    truncated: bool
    """The output reached its maximum; the rest is not decoded."""
    broken: bool
    """The input is not what its coding says."""

    def feed(self, data: bytes) -> bytes:
        """What `data` decodes to so far, perhaps nothing yet."""

    def finish(self) -> bytes:
        """At the end of the input: what was held back. A body that ends early is not an error here."""


class Decoded(NamedTuple):
    data: bytes
    truncated: bool
    broken: bool


def decoder_for(encoding: str, output_bytes_max: int = OUTPUT_BYTES_MAX) -> Decoder | None:
    """A decoder for the value of a Content-Encoding header; None when it names a coding that is not known here."""
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) and name != "identity"]
    if len(names) > CODINGS_MAX or any(name not in _CODINGS for name in names):
        return None
    if not names:
        return _Bounded([], output_bytes_max)
    return _Bounded([_CODINGS[name]() for name in reversed(names)], output_bytes_max)


def decode(data: bytes, encoding: str, bytes_max: int = OUTPUT_BYTES_MAX) -> Decoded | None:
    """A whole body decoded, up to `bytes_max`; None when a coding is not known."""
    if not encoding or encoding == "identity":
        return Decoded(data[:bytes_max], len(data) > bytes_max, False)
    decoder = decoder_for(encoding, bytes_max)
    if decoder is None:
        return None
    decoded = decoder.feed(data) + decoder.finish()
    return Decoded(decoded, decoder.truncated, decoder.broken)


def plain(data: bytes, encoding: bytes | None, bytes_max: int = OUTPUT_BYTES_MAX) -> bytes | None:
    """A whole body without the content coding that its header names; None when that cannot be taken off, or what comes
    out is longer than `bytes_max`."""
    if not encoding:
        return data
    decoded = decode(data, encoding.decode("latin-1"), bytes_max)
    return None if decoded is None or decoded.broken or decoded.truncated else decoded.data


class _Broken(Exception):
    def __init__(self, decoded: bytes) -> None:
        super().__init__()
        self.decoded = decoded
        """What came out before the fault."""


class _Step(Protocol):
    def feed(self, data: bytes, room: int) -> bytes:
        """At least `room` bytes when there are that many, at most a bounded amount more. Raises `_Broken`."""


class _Bounded:
    """Codings one after the other, each of them held to the same maximum."""

    def __init__(self, steps: list[_Step], output_bytes_max: int) -> None:
        self._steps = steps
        self._room = [output_bytes_max] * max(1, len(steps))
        self.truncated = False
        self.broken = False

    def feed(self, data: bytes) -> bytes:
        if self.truncated or self.broken:
            return b""
        for index, step in enumerate(self._steps):
            try:
                data = step.feed(data, self._room[index] + 1)
            except _Broken as fault:
                self.broken = True
                data = fault.decoded
            data = self._held(index, data)
        return data if self._steps else self._held(0, data)

    def finish(self) -> bytes:
        return b""

    def _held(self, index: int, data: bytes) -> bytes:
        room = self._room[index]
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        self._room[index] = room - len(data)
        return data


class _Gzip:
    """Several members in a row are one body (RFC 1952 section 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def feed(self, data: bytes, room: int) -> bytes:
        out = []
        try:
            while data and room > 0:
                if self._member.eof:
                    data = data.lstrip(b"\0")
                    self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
                    continue
                piece = self._member.decompress(data, room)
                out.append(piece)
                room -= len(piece)
                data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        except zlib.error as error:
            raise _Broken(b"".join(out)) from error
        return b"".join(out)


class _Deflate:
    """With the zlib header that the RFC asks for, or without it as some servers send it."""

    def __init__(self) -> None:
        self._head = b""
        self._object: zlib._Decompress | None = None

    def feed(self, data: bytes, room: int) -> bytes:
        if self._object is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b""
            self._object = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib_header(data) else -zlib.MAX_WBITS)
        try:
            return self._object.decompress(data, room)
        except zlib.error as error:
            raise _Broken(b"") from error


def _is_zlib_header(data: bytes) -> bool:
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


class _Brotli:
    def __init__(self) -> None:
        self._object = brotli.Decompressor()

    def feed(self, data: bytes, room: int) -> bytes:
        if self._object.is_finished():
            return b""
        try:
            decoded: bytes = self._object.process(data, output_buffer_limit=room)
        except brotli.error as error:
            raise _Broken(b"") from error
        return decoded


class _Zstd:
    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
        self._object = decompressor.decompressobj(read_across_frames=True)

    def feed(self, data: bytes, room: int) -> bytes:
        out = []
        try:
            for start in range(0, len(data), _ZSTD_SLICE):
                if room <= 0:
                    break
                piece = self._object.decompress(data[start : start + _ZSTD_SLICE])
                out.append(piece)
                room -= len(piece)
        except zstandard.ZstdError as error:
            raise _Broken(b"".join(out)) from error
        return b"".join(out)


_CODINGS: Final[dict[str, Callable[[], _Step]]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
