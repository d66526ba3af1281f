"""Rows come out of a stream wherever it is cut."""

from __future__ import annotations

import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.example import Row
from exporters.datasets.selecting import reading

ROWS = [
    Row(request_id="a", user="Zoë\n", tags={"app": "x"}, score=0.5),
    Row(request_id="b" * 40, input_tokens=7, finish_reasons=["stop"]),
    Row(request_id="c", truncated=True),
]
LINES = b"".join(msgspec.json.encode(row) + b"\n" for row in ROWS)


class Dribble(io.RawIOBase):
    """Gives at most `size` bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._size)


@given(st.integers(1, len(LINES) + 1), st.booleans())
def test_any_cut_gives_the_same_rows(size: int, ended: bool) -> None:
    data = LINES if ended else LINES[:-1]
    assert list(reading.decoded_lines(Dribble(data, size))) == ROWS


def test_integers_as_text_are_integers() -> None:
    line = msgspec.json.encode(ROWS[1]).replace(b"7", b'"7"') + b"\n"
    assert list(reading.decoded_lines(io.BytesIO(line))) == [ROWS[1]]


def test_bytes_that_are_no_text_are_replaced_and_the_rest_is_kept() -> None:
    found = list(reading.decoded_lines(io.BytesIO(LINES.replace(b"Zo", b"Z\xff"))))
    assert [row.request_id for row in found] == [row.request_id for row in ROWS]
    assert found[0].user == "Z\ufffdë\n"


def test_what_is_no_row_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        list(reading.decoded_lines(io.BytesIO(LINES + b"Code: 241. DB::Exception: memory\n")))
