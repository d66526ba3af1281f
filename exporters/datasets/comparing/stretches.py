"""Sets of stretches of letters: made of the items of an evaluation set, kept as hashes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from .grams import STRETCH, letters, stretches

LETTERS_MIN: Final = 40
"""Letters and digits in a row that two texts share when one is said to overlap the other."""
COMMON_ITEMS: Final = 2
"""A stretch that is in more items than this says nothing about any of them."""
STEP: Final = LETTERS_MIN - STRETCH
"""Every so many letters a text is looked at. See `contamination`."""

Stretches = NDArray[np.uint32]
"""Sorted, each once: the upper halves of hashes."""


def made_of(items: Iterable[Iterable[str]], common: Iterable[str] = ()) -> tuple[Stretches, int]:
    """The stretches of some items, and of how many items; of one item several wordings may be given.

    Items that are the same but for blanks and signs count once; so do stretches of several wordings. Stretches that
    more than `COMMON_ITEMS` have in common (the words around each question) are left out, and so are those of `common`
    texts. An item of fewer than `LETTERS_MIN` letters is not recognised by itself, and is not counted.
    """
    found: dict[bytes, Stretches] = {}
    for item in items:
        texts = [some for some in map(letters, item) if len(some) >= LETTERS_MIN]
        if texts:
            found.setdefault(
                b" ".join(texts), np.unique(np.concatenate([hashed(stretches(some, 1)) for some in texts]))
            )
    if not found:
        return np.zeros(0, np.uint32), 0
    values, counts = np.unique(np.concatenate(list(found.values())), return_counts=True)
    values = values[counts <= COMMON_ITEMS]
    known = [hashed(stretches(letters(text), 1)) for text in common]
    return np.setdiff1d(values, np.concatenate(known)) if known else values, len(found)


def hashed(found: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """What is kept of a hash."""
    return (found >> np.uint64(32)).astype(np.uint32)


def packed(values: Stretches) -> bytes:
    """As a file. The differences of sorted hashes are small: of each byte of them, all are put together."""
    steps = np.diff(values, prepend=np.uint32(0)).astype("<u4")
    return zstandard.ZstdCompressor(level=19).compress(steps.view(np.uint8).reshape(-1, 4).T.tobytes())


def unpacked(data: bytes) -> Stretches:
    """What was packed. Raises `zstandard.ZstdError`."""
    columns = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8).reshape(4, -1)
    steps = np.ascontiguousarray(columns.T).view("<u4").ravel()
    return np.cumsum(steps, dtype=np.uint32)
