"""Every coding at every split; what is cut, wrong or far too large when unpacked."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.coding import CODINGS_MAX, Decoded, decode, decoder_for


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


CODERS = {
    "gzip": gzip.compress,
    "X-GZip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
    "": bytes,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
    "zstd,identity ,gzip": lambda data: gzip.compress(zstandard.compress(data)),
}
BOUNDED = ["gzip", "deflate", "br", "zstd", "gzip, br"]


def in_pieces(coded: bytes, encoding: str, size: int) -> Decoded:
    decoder = decoder_for(encoding)
    assert decoder is not None
    data = b"".join(decoder.feed(coded[i : i + size]) for i in range(0, len(coded), size)) + decoder.finish()
    return Decoded(data, decoder.truncated, decoder.broken)


@given(st.binary(max_size=300), st.sampled_from(sorted(CODERS)), st.integers(1, 400))
def test_any_body_comes_back_at_any_split(data: bytes, encoding: str, size: int) -> None:
    assert in_pieces(CODERS[encoding](data), encoding, size) == Decoded(data, False, False)


@given(st.binary(max_size=300), st.integers(1, 400))
def test_deflate_without_its_header_is_read(data: bytes, size: int) -> None:
    assert in_pieces(raw_deflate(data), "deflate", size) == Decoded(data, False, False)


def test_what_is_flushed_comes_out_at_once() -> None:
    """An event stream is useless to the meter if it waits for the end of the body."""
    coders = {
        "gzip": zlib.compressobj(wbits=zlib.MAX_WBITS | 16),
        "deflate": zlib.compressobj(),
    }
    for encoding, coder in coders.items():
        decoder = decoder_for(encoding)
        assert decoder is not None
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            assert decoder.feed(coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH)) == event
    decoder = decoder_for("br")
    brotli_coder = brotli.Compressor()
    assert decoder is not None
    assert decoder.feed(brotli_coder.process(b"data: 1\n\n") + brotli_coder.flush()) == b"data: 1\n\n"
    decoder = decoder_for("zstd")
    zstd_coder = zstandard.ZstdCompressor().compressobj()
    assert decoder is not None
    piece = zstd_coder.compress(b"data: 1\n\n") + zstd_coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    assert decoder.feed(piece) == b"data: 1\n\n"


@pytest.mark.parametrize(("encoding", "coder"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_members_in_a_row_are_one_body(encoding: str, coder: type[bytes]) -> None:
    coded = coder(b"one ") + coder(b"two")
    for size in (1, 5, 1000):
        assert in_pieces(coded, encoding, size).data == b"one two"


@pytest.mark.parametrize("encoding", BOUNDED)
def test_a_bomb_stops_at_the_bound(encoding: str) -> None:
    coded = CODERS[encoding](bytes(4_000_000))
    assert decode(coded, encoding, 1000) == Decoded(bytes(1000), True, False)
    decoder = decoder_for(encoding, 1000)
    assert decoder is not None
    out = [decoder.feed(coded[i : i + 50]) for i in range(0, len(coded), 50)]
    assert (b"".join(out), decoder.truncated) == (bytes(1000), True)


@pytest.mark.parametrize("encoding", ["", *BOUNDED])
def test_a_body_of_just_the_bound_is_not_truncated(encoding: str) -> None:
    assert decode(CODERS[encoding](b"x" * 500), encoding, 500) == Decoded(b"x" * 500, False, False)
    assert decode(CODERS[encoding](b"x" * 501), encoding, 500) == Decoded(b"x" * 500, True, False)


def test_a_zstd_window_beyond_the_standards_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    coder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    decoded = decode(coder.compress(b"x") + coder.flush(), "zstd")
    assert decoded is not None
    assert decoded.broken


@pytest.mark.parametrize("encoding", ["compress", "gzip, dcb", "aes128gcm", "gzip," * (CODINGS_MAX + 1), "*"])
def test_an_unknown_coding_has_no_decoder(encoding: str) -> None:
    assert decoder_for(encoding) is None
    assert decode(b"x", encoding) is None


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
def test_a_body_that_is_not_what_it_says_is_broken(encoding: str) -> None:
    decoder = decoder_for(encoding)
    assert decoder is not None
    decoder.feed(b"\xff\xfe{}not coded" * 20)
    assert decoder.broken
    assert decoder.feed(CODERS[encoding](b"later")) == b""


@pytest.mark.parametrize("encoding", BOUNDED)
def test_a_cut_body_gives_its_beginning(encoding: str) -> None:
    data = bytes(range(256)) * 400
    coded = CODERS[encoding](data)
    decoded = decode(coded[: len(coded) - 5], encoding)
    assert decoded is not None
    assert (decoded.broken, data.startswith(decoded.data)) == (False, True)


@given(st.binary(max_size=200), st.sampled_from(sorted(CODERS)))
def test_arbitrary_bytes_never_raise(data: bytes, encoding: str) -> None:
    decoded = decode(data, encoding, 1000)
    assert decoded is not None
    assert len(decoded.data) <= 1000
