"""JSON as servers write it: what is forgiven, what is not, and that it can be written again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.document import Unreadable, read, read_object, write


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'"\\ud83d"', "\ud83d"),
        (b'"\xff"', "\ufffd"),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_read(data: bytes, value: Any) -> None:
    assert read(data) == value


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b'{"a":Infinity}', b"-Infinity", b"{} x", b"[" * 100_000, b"\0"])
def test_not_json(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read(data)
    assert read_object(data) == {}


@pytest.mark.parametrize("data", [None, b"[1]", b'"x"', b"null"])
def test_not_an_object(data: bytes | None) -> None:
    assert read_object(data) == {}


def test_halves_of_a_character_that_were_joined_are_one_again() -> None:
    joined = read(b'"\\ud83d"') + read(b'"\\ude00"')
    text = write({"a": joined})
    assert text is not None
    assert json.loads(text) == {"a": "\N{GRINNING FACE}"}
    assert write(["\ud83d"]) == '["\\ud83d"]'


def test_what_cannot_be_written_is_none() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert write(deep) is None
    assert write(object()) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_what_is_written_reads_the_same(value: Any) -> None:
    text = write(value)
    assert text is not None
    assert read(text) == value
