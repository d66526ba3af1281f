"""Which split a row belongs to, so that it stays there however much data is added.

Rows of one user, or without one of one session, or without both of one first turn, are dealt together by a hash of that
name. What still crosses (a session of two users, rows that are nearly the same) is dropped from train, or from
validation where it is in test too, and never moved: what is evaluated on is then never trained on, and a row that was
once in test is never in train.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..index import digest
from ..options import Arrange, Split

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

Rows = NDArray[Any]
"""Of dtype `index.ROW`."""


def assign(rows: Rows, options: Arrange) -> NDArray[np.uint8]:
    """The split of each row, as its place in `SPLITS`."""
    if options.by == "time":
        return _by_time(rows, options)
    key = np.where(rows["user"] != 0, rows["user"], np.where(rows["session"] != 0, rows["session"], rows["root"]))
    share = _mix(key ^ np.uint64(digest("split", options.salt))).astype(np.float64) / 2**64
    found = np.zeros(len(rows), np.uint8)
    found[share < options.test + options.validation] = 1
    found[share < options.test] = 2
    return found


def _by_time(rows: Rows, options: Arrange) -> NDArray[np.uint8]:
    """The newest rows are test, those before them validation. Rows of one moment stay together."""
    found = np.zeros(len(rows), np.uint8)
    if not len(rows):
        return found
    times = np.sort(rows["timestamp_ns"])
    for split, share in ((1, options.validation + options.test), (2, options.test)):
        if share:
            first = times[min(len(times) - 1, round(len(times) * (1 - share)))]
            found[rows["timestamp_ns"] >= first] = split
    return found


def crossing(rows: Rows, split: NDArray[np.uint8], clusters: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that share a session or a cluster with a row of a later split, in the order of `SPLITS`."""
    found = np.zeros(len(rows), np.bool_)
    for name in (rows["session"], clusters.astype(np.uint64) + np.uint64(1)):
        for later in range(1, len(SPLITS)):
            behind = split >= later
            found |= ~behind & (name != 0) & np.isin(name, name[behind & (name != 0)])
    return found


def _mix(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finisher of SplitMix64 (Steele, Lea, Flood 2014): every bit of the key decides about every bit."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))
