"""Rows that overlap an evaluation set: a model that was trained on them cannot be evaluated on it.

A row overlaps an item when both have `LETTERS_MIN` letters and digits in a row in common, whatever stands between them
(case, blanks, signs, numbering do not count), as GPT-4's authors compared theirs (OpenAI, GPT-4 Technical Report, 2023,
appendix C). That is about eight words of prose, and a line or two of code.

No such overlap is missed. Of an evaluation set, the stretch of 24 letters at every place is known; of a row, those at
every 16th are looked up. In 40 letters there are 17 places at which a stretch of 24 begins, and among 17 places one
after the other at least one is a 16th. What is found there is then looked at place by place: it counts when 17 one
after the other are known. So nothing counts that has fewer than 40 letters in common, but for chance: 17 hashes of 32
bits that are all known.

Who speaks is written between messages, so that an overlap lies within one.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..options import Decontaminate
from .grams import letters, stretches
from .held_out import items
from .stretches import LETTERS_MIN, STEP, Stretches, hashed, made_of, unpacked

BUNDLED: Final = ("humaneval", "mmlu")
"""What is known of each: `benchmarks.make`."""
SETS_MAX: Final = 250
"""Evaluation sets that one dataset is compared with: the index has a byte for the number."""
STRETCHES_MAX: Final = 16_000_000
"""Of all evaluation sets together: about 20 MB of text, 100 MB in each process."""
_BITS: Final = 128
"""Of the table that says at once that a stretch is in no set, for each stretch that is in one: wrong in 0.8 of 100."""
_BITS_MIN: Final = 1 << 16
_BITS_MAX: Final = 1 << 28
_ONE: Final = np.uint64(1)
_SEVEN: Final = np.uint64(7)


class Benchmarks:
    """Evaluation sets, and whether a row overlaps one."""

    def __init__(self, sets: Sequence[tuple[str, Stretches]]) -> None:
        """By name. Raises `DatasetError` when there are too many."""
        stretches_in_all = sum(len(known) for _, known in sets)
        if len(sets) > SETS_MAX or stretches_in_all > STRETCHES_MAX:
            raise DatasetError(
                f"{len(sets)} evaluation sets with {stretches_in_all:,} letters are too many: at most {SETS_MAX} with"
                f" {STRETCHES_MAX:,}. Leave out what is not evaluated on."
            )
        self.names: tuple[str, ...] = tuple(name for name, _ in sets)
        self._sets = [known for _, known in sets]
        bits = (min(max(_BITS * stretches_in_all, _BITS_MIN), _BITS_MAX) - 1).bit_length()
        # The upper bits of a hash are the byte, the three below them the bit in it.
        self._byte, self._bit = np.uint64(64 - bits + 3), np.uint64(64 - bits)
        self._table = np.zeros(1 << (bits - 3), np.uint8)
        for known in self._sets:
            at = known.astype(np.uint64) << np.uint64(32)
            np.bitwise_or.at(self._table, at >> self._byte, np.uint8(1) << (at >> self._bit & _SEVEN).astype(np.uint8))

    @classmethod
    def load(cls, options: Decontaminate) -> Benchmarks:
        """Those that were asked for. Raises `DatasetError`: an unknown name, a file that cannot be read or used."""
        for name in options.benchmarks:
            if name not in BUNDLED:
                raise DatasetError(f"There is no benchmark {name!r}. There are {', '.join(BUNDLED)}.")
        sets = [(name, bundled(name)) for name in options.benchmarks]
        for path in options.files:
            known, count = made_of(items(path))
            if not count:
                raise DatasetError(f"{path} holds nothing that a row could overlap: no text of 40 letters or more.")
            sets.append((path, known))
        return cls(sets)

    def overlaps(self, texts: Sequence[str]) -> list[int]:
        """Of what is spoken in each row: the place in `names` of the first set that it overlaps, plus one; 0 for none.

        Rows are looked up together, some hundred at a time: most of the time of one alone would go into calls of numpy.
        What is found there is looked at in its own row, so the same is found as in each alone.
        """
        said = [letters(text) for text in texts]
        overlapped = [0] * len(said)
        # Filled up, so that every 16th place of a row is one of all. A stretch that goes on into the next row is looked
        # up in vain: fewer than 17 of its own row's are around it.
        lengths = [-(-len(some) // STEP) * STEP for some in said]
        joined = stretches(b"".join(map(bytes.ljust, said, lengths, repeat(b"\0"))), STEP)
        suspect = self._table.take((joined >> self._byte).view(np.int64)) >> (joined >> self._bit & _SEVEN)
        places = np.flatnonzero(suspect & _ONE)
        sought = hashed(joined[places])
        places *= STEP
        ends = np.cumsum(lengths)
        for number, known in enumerate(self._sets):
            for place in places[_among(sought, known)]:
                row = int(np.searchsorted(ends, place, side="right"))
                at = int(place) - int(ends[row]) + lengths[row]
                if not overlapped[row] and _is_whole(said[row], at, known):
                    overlapped[row] = number + 1
        return overlapped


def bundled(name: str) -> Stretches:
    """The stretches of a set of `BUNDLED`."""
    return unpacked(resources.files(__package__).joinpath("benchmarks", f"{name}.zst").read_bytes())


def _among(sought: NDArray[np.uint32], known: Stretches) -> NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(sought), np.bool_)
    at = np.minimum(np.searchsorted(known, sought), len(known) - 1)
    found: NDArray[np.bool_] = known[at] == sought
    return found


def _is_whole(said: bytes, place: int, known: Stretches) -> bool:
    """Whether 40 letters around a stretch that is known are those of one place: 17 stretches one after the other.

    They need only be counted: one other letter makes 24 stretches unknown, and there are 33.
    """
    around = said[max(0, place - STEP) : place + LETTERS_MIN]
    return int(np.count_nonzero(_among(hashed(stretches(around, 1)), known))) > STEP
