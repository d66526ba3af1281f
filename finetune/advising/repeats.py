"""What is said more than once: exact and near duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .features import numbers, pairs
from .rows import SEED, Row, digest

NEAR: Final = 0.85
"""The Jaccard similarity of pairs of words from which two are near duplicates, as a build of a dataset has it."""
_HASHES: Final = 64
_BANDS: Final = 16
"""Of 4 hashes each: a pair at 0.85 shares one but for seven times in a million. What is found is compared in full."""


def exact(rows: Sequence[Row]) -> set[int]:
    """The places of those that say what one before them says, but for case, blanks and Unicode form."""
    seen: set[bytes] = set()
    found = set()
    for place, row in enumerate(rows):
        key = digest(f"{row.prompt}\0{row.answer}")
        if key in seen:
            found.add(place)
        seen.add(key)
    return found


def near(rows: Sequence[Row], left_out: set[int]) -> set[int]:
    """The places of those that are near to one before them, instructions not looked at. `left_out`: not compared.

    Answers that differ in a word of many are near; a short question with another name in it is not.
    """
    dice = np.random.default_rng(SEED)
    factors = dice.integers(1, 2**63, _HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    firsts: dict[tuple[int, bytes], int] = {}
    shingles: dict[int, npt.NDArray[np.uint64]] = {}
    found = set()
    for place, row in enumerate(rows):
        if place in left_out:
            continue
        own = np.unique(pairs(numbers(f"{row.asked}\n{row.answer}")))
        if not len(own):
            continue
        keys = _keys(own, factors)
        others = dict.fromkeys(firsts[key] for key in keys if key in firsts)
        if any(jaccard(own, shingles[other]) >= NEAR for other in others):
            found.add(place)
            continue
        shingles[place] = own
        for key in keys:
            firsts.setdefault(key, place)
    return found


def jaccard(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> float:
    """Of two sets without repetitions: what both have by what either has."""
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


def _keys(own: npt.NDArray[np.uint64], factors: npt.NDArray[np.uint64]) -> list[tuple[int, bytes]]:
    """MinHash by multiplication modulo 2^64, in bands."""
    mixed = (own[None, :] ^ (own[None, :] >> np.uint64(31))) * factors[:, None]
    signature = (mixed ^ (mixed >> np.uint64(32))).min(axis=1).reshape(_BANDS, -1)
    return [(band, part.tobytes()) for band, part in enumerate(signature)]
