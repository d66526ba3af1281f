"""Replies, whole and broken, at every split point; request heads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamFault
from proxy.http.h1 import ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Seen:
    status: int
    body: bytes
    keep_alive: bool
    complete: bool = True


def splits(raw: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at every point."""
    yield [raw]
    yield [raw[i : i + 1] for i in range(len(raw))]
    for at in range(1, len(raw)):
        yield [raw[:at], raw[at:]]


def feed(pieces: list[bytes], method: bytes = b"POST", *, eof: bool = False, limit: int = 65536) -> ResponseParser:
    parser = ResponseParser("api.test:443", limit)
    parser.begin(method)
    for piece in pieces:
        parser.feed(piece)
    if eof:
        parser.eof()
    return parser


def seen(parser: ResponseParser) -> Seen:
    return Seen(parser.status, b"".join(parser.parts), parser.keep_alive, parser.complete)


WHOLE = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", Seen(200, b"abc", True)),
    "empty": (OK + b"content-length: 0\r\n\r\n", Seen(200, b"", True)),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", Seen(200, b"x", True)),
    "chunked": (CHUNKED + b"3\r\nabc\r\n02\r\nde\r\n0\r\n\r\n", Seen(200, b"abcde", True)),
    "chunk extensions": (CHUNKED + b'3;a=b;c="d e"\r\nabc\r\n0;last\r\n\r\n', Seen(200, b"abc", True)),
    "upper case": (
        OK + b"TRANSFER-ENCODING: Chunked\r\n\r\nA\r\nabcdefghij\r\n0\r\n\r\n",
        Seen(200, b"abcdefghij", True),
    ),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n", Seen(200, b"x", True)),
    "no content": (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", Seen(204, b"", True)),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", Seen(304, b"", True)),
    "informational": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
        Seen(200, b"x", True),
    ),
    "close": (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", Seen(200, b"x", False)),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", Seen(200, b"x", False)),
    "1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", Seen(200, b"x", True)),
    "bytes after the end": (OK + b"Content-Length: 1\r\n\r\nxy", Seen(200, b"x", False)),
    "a second reply": (OK + b"Content-Length: 1\r\n\r\nx" + b"HTTP/1.1 500 No\r\nY: z\r\n\r\n", Seen(200, b"x", False)),
    "after close": (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nxGET", Seen(200, b"x", False)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_reads_a_reply_at_every_split(name: str) -> None:
    raw, expected = WHOLE[name]
    for pieces in splits(raw):
        assert seen(feed(pieces)) == expected, pieces


UNTIL_CLOSE = {
    "no framing": OK + b"Content-Type: text/plain\r\n\r\nabc",
    "1.0": b"HTTP/1.0 200 OK\r\n\r\nabc",
}


@pytest.mark.parametrize("name", UNTIL_CLOSE)
def test_a_body_without_framing_ends_with_the_connection(name: str) -> None:
    for pieces in splits(UNTIL_CLOSE[name]):
        assert not feed(pieces).complete
        assert seen(feed(pieces, eof=True)) == Seen(200, b"abc", False)


HEAD_REPLIES = {
    "length": (OK + b"Content-Length: 300\r\n\r\n", True),
    "chunked": (CHUNKED, True),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", True),
    "a body after all": (OK + b"Content-Length: 3\r\n\r\nabc", False),
    "chunks after all": (CHUNKED + b"1\r\nx\r\n0\r\n\r\n", False),
    "close": (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\n", False),
}


@pytest.mark.parametrize("name", HEAD_REPLIES)
def test_a_reply_to_head_has_no_body(name: str) -> None:
    raw, keep_alive = HEAD_REPLIES[name]
    for pieces in splits(raw):
        assert seen(feed(pieces, b"HEAD")) == Seen(200, b"", keep_alive), pieces


def test_the_next_reply_begins_afresh() -> None:
    parser = ResponseParser("api.test:443")
    for method, raw, expected in [
        (b"POST", *WHOLE["informational"]),
        (b"HEAD", HEAD_REPLIES["length"][0], Seen(200, b"", True)),
        (b"HEAD", HEAD_REPLIES["chunked"][0], Seen(200, b"", True)),
        (b"POST", *WHOLE["trailers"]),
        (b"POST", *WHOLE["not modified"]),
        (b"GET", *WHOLE["length"]),
    ]:
        parser.begin(method)
        parser.feed(raw)
        assert seen(parser) == expected


def test_header_fields_are_kept_as_they_came() -> None:
    raw = OK + b"X-B: 1\r\nx-a:two  \r\nX-B:   3\r\nSet-Cookie: a=b; c\r\nEmpty:\r\nLatin: \xe9\r\n"
    raw += b"Content-Length: 0\r\n\r\n"
    for pieces in splits(raw):
        parser = feed(pieces)
        assert parser.reason == b"OK"
        assert parser.headers == [
            (b"X-B", b"1"),
            (b"x-a", b"two"),
            (b"X-B", b"3"),
            (b"Set-Cookie", b"a=b; c"),
            (b"Empty", b""),
            (b"Latin", b"\xe9"),
            (b"Content-Length", b"0"),
        ]


def test_fields_of_informational_replies_and_trailers_are_not_the_replys() -> None:
    raw = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"
    raw += b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n"
    for pieces in splits(raw):
        parser = feed(pieces)
        assert parser.headers == [(b"Transfer-Encoding", b"chunked")]
        assert parser.reason == b"Fine"


BAD = {
    "not http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "leading line end": b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "version 2": b"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "length and chunked": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "list of lengths": OK + b"Content-Length: 3, 4\r\n\r\nabcd",
    "signed length": OK + b"Content-Length: +3\r\n\r\nabc",
    "negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "huge length": OK + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "coding before chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded line": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "nul": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare cr": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "bare lf": OK + b"X: a\nContent-Length: 0\r\n\r\n",
    "space before colon": OK + b"Content-Length : 0\r\n\r\n",
    "no name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"Content-Length\r\n\r\n",
    "chunk size": CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "chunk size overflow": CHUNKED + b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "chunk line end": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "trailer": CHUNKED + b"0\r\nX: a\0b\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_bad_framing_at_every_split(name: str) -> None:
    for pieces in splits(BAD[name]):
        with pytest.raises(UpstreamFault) as caught:
            feed(pieces)
        assert caught.value.code == "bad_response"
        assert caught.value.http_status == 502
        assert "api.test:443" in caught.value.message


LONG = b"X-Long: " + b"v" * 200 + b"\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        OK + LONG * 6 + b"Content-Length: 0\r\n\r\n",
        OK + b"X: " + b"v" * 2000,
        b"HTTP/1.1 103 Early\r\n\r\n" * 60,
        CHUNKED + b"0\r\n" + LONG * 6,
        CHUNKED + b"1;" + b"x" * 1100,
        OK + LONG * 6 + b"Content-Length: 3\r\n\r\nabc",
    ],
    ids=["fields", "one field", "informational replies", "trailers", "chunk extension", "fields and body"],
)
def test_head_and_trailers_have_a_limit(raw: bytes) -> None:
    for step in (1, 7, 100, len(raw)):
        with pytest.raises(UpstreamFault, match="more than 1000 bytes of header fields"):
            feed([raw[i : i + step] for i in range(0, len(raw), step)], limit=1000)


def test_a_head_within_the_limit_passes_with_a_body_beyond_it() -> None:
    raw = OK + LONG * 4 + b"Content-Length: 5000\r\n\r\n" + b"b" * 5000
    for step in (1, 999, len(raw)):
        parser = feed([raw[i : i + step] for i in range(0, len(raw), step)], limit=1000)
        assert seen(parser) == Seen(200, b"b" * 5000, True)


def test_the_end_of_the_connection_says_how_far_the_reply_was() -> None:
    raw = OK + b"Content-Length: 3\r\n\r\nabc"
    head_bytes = raw.index(b"abc")
    for at in range(len(raw)):
        with pytest.raises(UpstreamFault) as caught:
            feed([raw[:at]] if at else [], eof=True)
        assert caught.value.code == ("connection_reset" if at < head_bytes else "upstream_cut")
        assert caught.value.replayable == (at == 0)
    for cut in range(len(CHUNKED), len(CHUNKED + b"1\r\nx\r\n0\r\n\r\n")):
        with pytest.raises(UpstreamFault, match="in the middle of the reply"):
            feed([(CHUNKED + b"1\r\nx\r\n0\r\n\r\n")[:cut]], eof=True)
    assert seen(feed([raw], eof=True)) == Seen(200, b"abc", False)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_chunks_come_out_as_they_went_in_however_they_are_cut(chunks: list[bytes], data: st.DataObject) -> None:
    raw = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert seen(feed(pieces)) == Seen(200, b"".join(chunks), True)


@given(st.binary(max_size=300), st.booleans())
def test_whatever_arrives_is_a_reply_or_a_fault(noise: bytes, after_head: bool) -> None:
    raw = (CHUNKED if after_head else b"HTTP/1.1 ") + noise
    with contextlib.suppress(UpstreamFault):
        feed([raw, b"\r\n"], eof=True)
