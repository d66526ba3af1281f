"""Answers of a small closed set, as classification has them, and how evenly they are used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from .features import words
from .rows import Row

WORDS_MAX: Final = 8
"""Of an answer that can be a label; a small JSON object is within it."""
LABELS_MAX: Final = 100
EXAMPLES_MIN: Final = 3
"""Of each label, on average: fewer are short answers, not a closed set."""
SHARE_MIN: Final = 0.95
"""Of the answers that have to be short."""
SHOWN_MAX: Final = 20
CHARACTERS_SHOWN: Final = 60


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """The answers as classes."""

    count: int
    balance: float
    """Entropy of the classes by its greatest value, ln(classes): 1 where all are as frequent, 0 where there is one."""
    smallest: int
    """Examples of the rarest class."""
    smallest_name: str
    largest_name: str
    largest_share: float
    """What is right when the most frequent one is always answered."""
    examples: dict[str, int]
    """By class, the most frequent first; at most 20."""


def label_of(answer: str) -> str:
    """The same for answers that differ in case, blanks and a full stop alone."""
    return " ".join(answer.casefold().split()).rstrip(".")


def find(rows: Sequence[Row]) -> Labels | None:
    """None where the answers are no closed set: 95 % have at most 8 words, and at most 100 different ones are there,
    two at least, each 3 times on average."""
    short = [label_of(row.answer) for row in rows if len(words(row.answer)) <= WORDS_MAX and not row.calls_tools]
    if len(short) < SHARE_MIN * len(rows):
        return None
    counts = Counter(short)
    if not 2 <= len(counts) <= min(LABELS_MAX, len(short) / EXAMPLES_MIN):
        return None
    entropy = -sum(count / len(short) * math.log(count / len(short)) for count in counts.values())
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    name, smallest = ordered[-1]
    return Labels(
        count=len(counts),
        balance=entropy / math.log(len(counts)),
        smallest=smallest,
        smallest_name=name[:CHARACTERS_SHOWN],
        largest_name=ordered[0][0][:CHARACTERS_SHOWN],
        largest_share=ordered[0][1] / len(short),
        examples={name[:CHARACTERS_SHOWN]: count for name, count in ordered[:SHOWN_MAX]},
    )
