"""The numbers of every scanned row, on which the choice is made: 92 bytes a row, whatever the row holds.

Names are hashes of eight bytes (`digest`), 0 for none: they are only ever compared.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Final

import numpy as np

SIGNATURE: Final = 128
"""Values of a MinHash signature, 32 bits each."""

ROW: Final = np.dtype(
    [
        ("timestamp_ns", "i8"),
        ("order", "u8"),  # digest of the request id: an order that has nothing to do with time, and never changes
        ("whole", "u8"),  # chain digest of the whole conversation, answer included (chains.py)
        ("text", "u8"),  # digest of its normalised text (fingerprints.py); 0: not looked at, it is a beginning
        ("root", "u8"),  # digest of its first turn: where a conversation without user and session belongs
        ("user", "u8"),
        ("session", "u8"),
        ("template", "u8"),  # digest of the system prompt, or of the prompt's name where it has one
        ("label", "u8"),
        ("group", "u8"),  # what --sample counts by
        ("score", "f4"),  # NaN: none
        ("tokens", "u4"),
        ("turns", "u2"),
        ("benchmark", "u1"),  # number of the evaluation set it overlaps, from 1; 0: none
        ("paired", "u1"),  # 1: it is a preference pair
    ]
)


PACKED: Final = struct.Struct("<qQQQQQQQQQfIHBB")
"""A `ROW`, made of Python's values in a third of the time that numpy takes."""
FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_NAMES_MAX: Final = 4096


def digest(*parts: str | bytes) -> int:
    """Eight bytes of BLAKE2b over the parts, never 0. The same in every version: splits depend on it."""
    data = b""
    for part in parts:
        some = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        data += b"%d:%b" % (len(some), some)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


@lru_cache(_NAMES_MAX)
def digest_of_name(text: str) -> int:
    """`digest`, and 0 for "". Of users, sessions and labels, which come again and again."""
    return digest(text) if text else 0
