"""An entry is got back as it was packed, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.packing import Corrupt, pack, unpack
from tests.unit.cache.entries import entry, key

bodies = st.binary(max_size=200)


@given(bodies, st.text(max_size=5), st.booleans(), st.lists(st.tuples(bodies, bodies), max_size=3))
def test_what_was_packed_is_unpacked_equal(
    body: bytes, namespace: str, stream: bool, headers: list[tuple[bytes, bytes]]
) -> None:
    kept = entry(1, body=body, namespace=namespace, stream=stream, headers=tuple(headers))
    assert unpack(key(1), pack(key(1), kept)) == kept


@given(bodies, st.data())
def test_every_changed_byte_is_seen(body: bytes, data: st.DataObject) -> None:
    packed = bytearray(pack(key(1), entry(1, body=body)))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        unpack(key(1), bytes(packed))


def test_every_cut_is_seen() -> None:
    packed = pack(key(1), entry(1, size=50))
    for length in range(len(packed)):
        with pytest.raises(Corrupt):
            unpack(key(1), packed[:length])


@given(st.binary(min_size=1, max_size=50))
def test_what_was_added_is_seen(more: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(key(1), pack(key(1), entry(1)) + more)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(key(1), data)


def test_what_was_kept_for_one_key_is_not_given_for_another() -> None:
    with pytest.raises(Corrupt):
        unpack(key(2), pack(key(1), entry(1)))
    with pytest.raises(Corrupt):
        unpack("", pack(key(1), entry(1)))
