"""Texts as numbers that need no model: words, and how alike texts are by the words and pairs of words they share."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORDS_MAX: Final = 2_000
"""Of a text; what follows is not looked at."""
BUCKETS: Final = 1 << 20
"""For words and pairs. Two fall into one by chance so rarely that it moves no digit that is shown."""

_words = re.compile(r"\w+").findall
_PAIR: Final = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> list[str]:
    """Runs of letters and digits, case folded."""
    return _words(text.casefold())[:WORDS_MAX]


@functools.lru_cache(maxsize=1 << 18)
def _number(word: str) -> int:
    return zlib.crc32(word.encode(errors="replace"))


def numbers(text: str) -> npt.NDArray[np.uint64]:
    """The words as 32-bit hashes, the same in every process."""
    return np.fromiter((_number(word) for word in words(text)), dtype=np.uint64)


def pairs(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hashes of each two words that follow one another; of a single word the word itself."""
    if len(hashes) < 2:
        return hashes
    mixed = (hashes[:-1] * _PAIR) ^ (hashes[1:] + (hashes[:-1] << np.uint64(17)))
    mixed ^= mixed >> np.uint64(29)
    return mixed * _PAIR


def tf_idf(texts: Sequence[str]) -> csr_array:
    """A row of length 1 for each text over its words and pairs of words: (1 + ln tf) · (1 + ln((1 + n) / (1 + df))).

    The weights of scikit-learn's TfidfVectorizer with `sublinear_tf`, hashed into `BUCKETS` columns. Texts without a
    word are all the same row.
    """
    from scipy.sparse import csr_array

    columns, counts = [], []
    for text in texts:
        found = numbers(text)
        found = np.concatenate([found, pairs(found)]) if len(found) > 1 else found
        column, count = np.unique(found % np.uint64(BUCKETS), return_counts=True)
        columns.append(column if len(column) else np.zeros(1, dtype=np.uint64))
        counts.append(count if len(count) else np.ones(1))
    ends = np.cumsum([0, *(len(column) for column in columns)])
    place = np.concatenate(columns).astype(np.int64)
    frequency = np.bincount(place, minlength=BUCKETS)
    weight = (1 + np.log(np.concatenate(counts))) * (1 + np.log((1 + len(texts)) / (1 + frequency[place])))
    lengths = np.sqrt(np.add.reduceat(weight**2, ends[:-1]))
    return csr_array((weight / np.repeat(lengths, np.diff(ends)), place, ends), shape=(len(texts), BUCKETS))


def cosines(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """How alike each two are, from 0 (no word in common) to 1 (the same words)."""
    matrix = tf_idf(texts)
    alike: npt.NDArray[np.float64] = (matrix @ matrix.T).toarray()
    return np.clip(alike, 0.0, 1.0)


def effective_number(alike: npt.NDArray[np.float64]) -> float:
    """How many different ones there are in effect: from 1, all the same, to n, nothing in common.

    The exponential of the entropy of the eigenvalues of K/n, K the similarities (Friedman and Dieng 2023, The Vendi
    Score). k groups of the same size, each of one text repeated, give k.
    """
    values = np.linalg.eigvalsh(alike / len(alike))
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))
