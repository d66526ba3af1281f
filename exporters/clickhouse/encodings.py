"""Content codings of the store's HTTP interface: what clients compress, and what is compressed for them."""

from __future__ import annotations

import zlib
from typing import Any, Final, Protocol

import brotli
import zstandard

PREFERRED: Final = ("zstd", "br", "gzip", "deflate")


class Compressor(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class Plain:
    """Leaves the bytes as they are."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class _Brotli:
    def __init__(self) -> None:
        self._compressor = brotli.Compressor(quality=4)

    def compress(self, data: bytes) -> bytes:
        piece: bytes = self._compressor.process(data)
        return piece

    def flush(self) -> bytes:
        last: bytes = self._compressor.finish()
        return last


def chosen_encoding(accept: str) -> str | None:
    """The coding for a reply to a caller that sent `accept` as Accept-Encoding; None sends the bytes as they are."""
    offered = set()
    for item in accept.lower().split(","):
        name, _, parameters = item.partition(";")
        if parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            offered.add(name.strip())
    return next((name for name in PREFERRED if name in offered), None)


def compressor(encoding: str) -> Compressor:
    """Compresses piece by piece; `encoding` is one of `PREFERRED`."""
    if encoding == "zstd":
        made: Compressor = zstandard.ZstdCompressor(level=1).compressobj()
        return made
    if encoding == "br":
        return _Brotli()
    return zlib.compressobj(level=3, wbits=31 if encoding == "gzip" else 15)


class UnknownEncoding(Exception):
    """The request body is in a coding that is not understood here."""


def decompress_lz4(data: bytes, bytes_max: int) -> bytes:
    """An LZ4 frame, which aiohttp does not know. Raises `UnknownEncoding` without the package lz4, or when damaged."""
    try:
        from lz4 import frame
    except ImportError as error:
        raise UnknownEncoding("install the package lz4, or have the client send zstd or gzip") from error
    reader: Any = frame.LZ4FrameDecompressor()
    try:
        whole: bytes = reader.decompress(data, bytes_max + 1)
    except RuntimeError as error:
        raise UnknownEncoding("the LZ4 frame is damaged") from error
    if len(whole) > bytes_max or not reader.eof:
        raise UnknownEncoding("the LZ4 frame is incomplete or too large")
    return whole
