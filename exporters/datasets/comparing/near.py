"""Rows that are nearly the same: locality-sensitive hashing of their signatures, band after band, in flat memory.

A signature of 128 values is cut into bands of `r` values (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
chapter 3). Two rows of similarity s agree in all values of at least one of b bands with the probability
1 - (1 - s^r)^b; those that do are compared, and united when the share of equal values reaches the threshold. `r` is the
largest for which that probability is at least 0.99 at the threshold. Rows of equal signatures are united before, in
linear time.

Where more than `BUCKET_MAX` different rows agree in a band (one long template, filled in a million times), they are
put in the order of their other bands, and each is compared with the `NEIGHBOURS` that follow. So the work is linear in
the number of rows whatever they are, and which pairs are found depends on the signatures alone, not on the order of the
rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..index import SIGNATURE
from ..progress import Progress
from .grams import mixed

RECALL: Final = 0.99
"""Least probability with which two rows that are just as similar as the threshold are compared."""
BUCKET_MAX: Final = 32
"""Of as many all are compared with all."""
NEIGHBOURS: Final = 8
"""Of more, each with as many that follow."""
_CHUNK: Final = 8192
"""Signatures that are in memory at a time, 4 MB."""
_KEYS_BYTES_MAX: Final = 64 << 20
"""Of the bands that are looked at in one reading of the signatures."""
_ORDERED_BY: Final = 6
"""Bands that put a large bucket in order."""

Signatures = Callable[[NDArray[np.int64]], NDArray[np.uint32]]
Places = NDArray[np.int64]
"""Places in the rows that are compared, not their numbers."""

_FACTORS: Final = mixed(np.arange(1, SIGNATURE + 1, dtype=np.uint64)) | np.uint64(1)


def bands(threshold: float) -> tuple[int, int]:
    """How many bands, of how many values each."""
    for values in range(SIGNATURE, 1, -1):
        count = SIGNATURE // values
        if 1 - (1 - threshold**values) ** count >= RECALL:
            return count, values
    return SIGNATURE, 1


def clusters(
    signatures: Signatures, rows: NDArray[np.int64], threshold: float, progress: Progress
) -> NDArray[np.int64]:
    """For each of `rows` the smallest number of those that are nearly the same as it, itself when it is alone.

    Nearly the same as one is nearly the same as those that are nearly the same as that one. `progress` is told of as
    many as there are rows.
    """
    search = _Search(signatures, rows, threshold)
    told = 0
    for done, of in search.steps():
        now = len(rows) * done // of
        progress.advance(now - told)
        told = now
    progress.advance(len(rows) - told)
    return search.names()


class _Search:
    def __init__(self, signatures: Signatures, rows: NDArray[np.int64], threshold: float) -> None:
        self._signatures = signatures
        self._rows = rows
        self._least = math.ceil(threshold * SIGNATURE - 1e-9)
        self._bands, self._values = bands(threshold)
        self._parent: Places = np.arange(len(rows), dtype=np.int64)

    def steps(self) -> Iterator[tuple[int, int]]:
        """Do the work. After each part of it: how many bands are done, and of how many."""
        whole = self._whole()
        order = np.argsort(whole, kind="stable")
        same = np.flatnonzero(whole[order[1:]] == whole[order[:-1]])
        self._unite(order[same], order[same + 1])
        del order, same
        self._compress()
        # One for all that are equal.
        places = np.flatnonzero(self._parent == np.arange(len(self._parent)))
        whole = whole[places]
        yield 1, self._bands + 1
        at_once = max(1, min(self._bands, _KEYS_BYTES_MAX // max(1, 4 * len(places))))
        for first in range(0, self._bands, at_once):
            keys = self._keys(places, [*range(first, min(first + at_once, self._bands))])
            for number in range(len(keys)):
                self._band(places, whole, keys[number], first + number)
                yield first + number + 2, self._bands + 1

    def names(self) -> NDArray[np.int64]:
        self._compress()
        found = np.full(len(self._rows), np.iinfo(np.int64).max, np.int64)
        np.minimum.at(found, self._parent, self._rows)
        return found[self._parent]

    def _band(self, places: Places, whole: NDArray[np.uint64], keys: NDArray[np.uint32], band: int) -> None:
        """Compare those that agree in one band."""
        packed = keys.astype(np.uint64) << np.uint64(32)
        packed |= np.arange(len(places), dtype=np.uint64)
        packed.sort()
        at = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
        begins = np.flatnonzero(np.diff(packed >> np.uint64(32), prepend=np.uint64(2**32)))
        sizes = np.diff(begins, append=len(at))
        large = sizes > BUCKET_MAX
        for begin, size in zip(begins[large], sizes[large], strict=True):
            bucket = at[begin : begin + size]
            others = [(band + step) % self._bands for step in range(1, min(_ORDERED_BY + 1, self._bands))]
            order = np.lexsort((whole[bucket], *self._keys(places[bucket], others)[::-1]))
            at[begin : begin + size] = bucket[order]
        # With how many behind it in its bucket each is compared.
        reach = np.repeat(begins + sizes, sizes) - np.arange(len(at)) - 1
        reach = np.minimum(reach, np.repeat(np.where(large, NEIGHBOURS, BUCKET_MAX), sizes))
        left = np.flatnonzero(reach)
        for distance in range(1, BUCKET_MAX):
            left = left[reach[left] >= distance]
            for start in range(0, len(left), _CHUNK):
                some = left[start : start + _CHUNK]
                self._compare(places[at[some]], places[at[some + distance]])

    def _compare(self, one: Places, other: Places) -> None:
        apart = self._find(one) != self._find(other)
        one, other = one[apart], other[apart]
        if len(one):
            equal = self._signatures(self._rows[one]) == self._signatures(self._rows[other])
            alike = np.count_nonzero(equal, axis=1) >= self._least
            self._unite(one[alike], other[alike])

    def _find(self, places: Places) -> Places:
        """Which place stands for each."""
        found = self._parent[places]
        while True:
            next_ = self._parent[found]
            if np.array_equal(next_, found):
                break
            found = next_
        self._parent[places] = found
        return found

    def _unite(self, one: Places, other: Places) -> None:
        while len(one):
            one, other = self._find(one), self._find(other)
            apart = one != other
            one, other = one[apart], other[apart]
            low, high = np.minimum(one, other), np.maximum(one, other)
            np.minimum.at(self._parent, high, low)
            # A chain of many is halved in every round.
            while not np.array_equal(shorter := self._parent[self._parent[high]], self._parent[high]):
                self._parent[high] = shorter

    def _compress(self) -> None:
        while not np.array_equal(shorter := self._parent[self._parent], self._parent):
            self._parent = shorter

    def _whole(self) -> NDArray[np.uint64]:
        """A hash of each signature: different ones are equal with a chance of 2**-64 a pair."""
        found = np.empty(len(self._rows), np.uint64)
        for begin in range(0, len(self._rows), _CHUNK):
            values = self._signatures(self._rows[begin : begin + _CHUNK]).view(np.uint64)
            # Of two values each, mixed so that neither decides about few bits alone.
            found[begin : begin + _CHUNK] = (mixed(values ^ _FACTORS[: SIGNATURE // 2]) * _FACTORS[::2]).sum(axis=1)
        return found

    def _keys(self, places: Places, which: list[int]) -> NDArray[np.uint32]:
        """Of each of some bands, the hash of its values at each of `places`. Equal ones may differ in their values."""
        found = np.empty((len(which), len(places)), np.uint32)
        columns = [band * self._values + value for band in which for value in range(self._values)]
        factors = _FACTORS[columns]
        for begin in range(0, len(places), _CHUNK):
            values = self._signatures(self._rows[places[begin : begin + _CHUNK]])[:, columns] * factors
            sums = values.reshape(-1, len(which), self._values).sum(axis=2)
            found[:, begin : begin + _CHUNK] = (sums >> np.uint64(32)).T
        return found
