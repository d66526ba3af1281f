"""The decoder against the rules of the HTML standard, and against itself at every split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.sse import Event, SseDecoder, events


def decode(pieces: list[bytes], event_bytes_max: int = 1 << 20) -> list[Event]:
    decoder = SseDecoder(event_bytes_max)
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()


def datas(stream: bytes) -> list[bytes]:
    return [event.data for event in decode([stream])]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_ends_lines(end: bytes) -> None:
    stream = end.join([b"event: a", b"data: 1", b"id: 7", b"", b"data: 2", b"data:3", b"", b""])
    first, second = decode([stream])
    assert (first.event, first.data, first.id) == ("a", b"1", "7")
    assert (second.event, second.data, second.id) == ("", b"2\n3", "7"), "an id lasts, a name does not"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b": comment\n\ndata: x\n\n", [b"x"]),
        (b"\n\n\ndata: x\n\n\n\n", [b"x"]),
        (b"\xef\xbb\xbfdata: x\n\n", [b"x"]),
        (b"data:  two\n\n", [b" two"]),
        (b"data\n\n", [b""]),
        (b"event: only\n\n", []),
        (b"dataX: x\nretry: 10\nunknown\ndata: y\n\n", [b"y"]),
        (b"data: x\r\r\ndata: y\n\r\n", [b"x", b"y"]),
        (b"data: a\rdata: b\n\n", [b"a\nb"]),
        (b"", []),
    ],
)
def test_what_is_an_event(stream: bytes, expected: list[bytes]) -> None:
    assert datas(stream) == expected


def test_an_id_with_a_null_is_ignored() -> None:
    assert [event.id for event in decode([b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n"])] == ["1", "1"]


def test_the_unfinished_event_is_given_out_and_marked() -> None:
    whole, broken = decode([b"data: 1\n\ndata: 2\n"])
    assert (whole.complete, broken.complete, broken.data) == (True, False, b"2")


def test_an_event_over_the_bound_is_flagged_and_the_next_one_read() -> None:
    stream = b"data: " + b"x" * 200 + b"\n\ndata: y\n\n"
    for size in (1, 3, 64, 1000):
        large, small = decode([stream[i : i + size] for i in range(0, len(stream), size)], event_bytes_max=100)
        assert large == Event("", b"", "", b"", oversized=True)
        assert small.data == b"y"


def test_an_endless_event_holds_no_memory() -> None:
    decoder = SseDecoder(1000)
    for _ in range(1000):
        assert decoder.feed(b"data: " + b"x" * 500) == []
    assert len(decoder._buffer) < 1500
    assert [event.oversized for event in decoder.finish()] == [True]


LINES = st.sampled_from(
    [b"data: x", b"data:", b"data: \xc3\xa9\xf0\x9f\x98\x80", b"event: e", b"id: 1", b": c", b"", b"q"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=12).map(b"".join) | st.binary(max_size=40)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[start:end] for start, end in pairwise(places)]


@given(STREAMS, st.lists(st.integers(0, 1000)), st.sampled_from([4, 12, 1 << 20]))
def test_any_split_gives_the_same_events(stream: bytes, at: list[int], bound: int) -> None:
    assert decode(cut(stream, at), bound) == decode([stream], bound)


@given(STREAMS)
def test_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    assert decode([stream[i : i + 1] for i in range(len(stream))]) == decode([stream]) == events(stream)


@given(STREAMS)
def test_raw_spans_are_in_the_stream_in_order(stream: bytes) -> None:
    place = 0
    for event in decode([stream]):
        found = stream.find(event.raw, place)
        assert found >= place
        place = found + len(event.raw)
