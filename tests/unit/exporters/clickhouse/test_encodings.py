"""Content codings of the store's HTTP interface."""

from __future__ import annotations

import gzip
import zlib

import brotli
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from exporters.clickhouse.encodings import (
    PREFERRED,
    Plain,
    UnknownEncoding,
    chosen_encoding,
    compressor,
    decompress_lz4,
)

DECODERS = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.mark.parametrize("encoding", PREFERRED)
@given(pieces=st.lists(st.binary(max_size=100), max_size=5))
def test_pieces_come_back_whole(encoding: str, pieces: list[bytes]) -> None:
    pack = compressor(encoding)
    packed = b"".join(pack.compress(piece) for piece in pieces) + pack.flush()
    assert DECODERS[encoding](packed) == b"".join(pieces)


def test_plain_is_plain() -> None:
    assert (Plain().compress(b"x"), Plain().flush()) == (b"x", b"")


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", None),
        ("identity", None),
        ("lz4", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("lz4,zstd,br,gzip", "zstd"),
        ("br;q=1.0, gzip;q=0.8", "br"),
        ("zstd;q=0, gzip", "gzip"),
        ("GZIP", "gzip"),
    ],
)
def test_the_coding_is_one_that_the_caller_takes(accept: str, encoding: str | None) -> None:
    assert chosen_encoding(accept) == encoding


def test_lz4_frames() -> None:
    data = b"abc" * 1000
    packed = lz4.frame.compress(data)
    assert decompress_lz4(packed, len(data)) == data
    for broken, limit in ((packed, len(data) - 1), (packed[:-5], len(data)), (b"no frame", 100), (b"", 100)):
        with pytest.raises(UnknownEncoding):
            decompress_lz4(broken, limit)
