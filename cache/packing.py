"""An `Entry` as bytes that say themselves whether they are whole, and for which key they were kept."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from .entry import Entry

_MAGIC: Final = b"PSC\x01"
"""The last byte is the version of the layout: magic, digest, entry."""
_DIGEST_BYTES: Final = 16
_HEAD_BYTES: Final = len(_MAGIC) + _DIGEST_BYTES

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class Corrupt(Exception):
    """Not the bytes that were packed for this key: torn, changed, another's, or of another version."""


def pack(key: str, entry: Entry) -> bytes:
    payload = _encoder.encode(entry)
    return b"".join((_MAGIC, _digest(key, payload), payload))


def unpack(key: str, data: bytes) -> Entry:
    """Raises `Corrupt`."""
    if len(data) <= _HEAD_BYTES or not data.startswith(_MAGIC):
        raise Corrupt
    payload = memoryview(data)[_HEAD_BYTES:]
    if _digest(key, payload) != data[len(_MAGIC) : _HEAD_BYTES]:
        raise Corrupt
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise Corrupt from error


def _digest(key: str, payload: bytes | memoryview) -> bytes:
    """SHA-256, cut to 128 bits. With the processor's own instructions it takes 47 µs for 64 KiB, where BLAKE2b takes
    123 and CRC-32, which misses one change in 2**32, takes 34."""
    digest = hashlib.sha256(b"%s%d\0" % (_MAGIC, len(key)))
    digest.update(key.encode())
    digest.update(payload)
    return digest.digest()[:_DIGEST_BYTES]
