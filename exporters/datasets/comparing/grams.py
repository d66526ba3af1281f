"""Words, runs of words and stretches of letters as numbers of 64 bits: what texts are recognised by.

A word is a run of letters and digits, whatever its case; everything else separates. Text that is not ASCII is brought
to NFKC first, and a character of a script that is written without blanks is a word of its own.

No word becomes an object: a word's hash is the difference of two prefix sums over the bytes, so that a text of 250
words takes as long as some twenty calls of numpy. The hashes of bundled files are made with it: it never changes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_BASE: Final = 0x9E3779B97F4A7C15
_BLOCK: Final = 1 << 16
"""Bytes that are hashed together, so that memory does not grow with the text. A longer word counts as several."""
_BLANK: Final = 32
_TO_WORDS: Final = bytes(ord(chr(c).lower()) if chr(c).isalnum() else _BLANK for c in range(128)) + bytes(
    range(128, 256)
)
_NEITHER: Final = bytes(c for c in range(128) if not chr(c).isalnum()) + bytes(range(0xC0, 256))
"""What `letters` leaves out: signs, and the first bytes of letters that have several."""
_SIGNS: Final = re.compile(rb"\xc2.|\xe2[\x80-\xaf].|\xe3\x80.", re.DOTALL)
"""In UTF-8: U+0080 to U+00BF, U+2000 to U+2BFF, U+3000 to U+303F. Of other scripts, signs count as letters."""
_UNSPACED: Final = re.compile(
    # Thai and Lao, Burmese, Khmer, Kana, Han.
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff])"
)
STRETCH: Final = 24
"""Letters that `stretches` hashes together."""


def mixed(keys: Hashes) -> Hashes:
    """The finisher of SplitMix64 (Steele, Lea, Flood 2014): every bit of a key decides about every bit."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _powers(base: int) -> Hashes:
    found = np.full(_BLOCK + 2, base % 2**64, np.uint64)
    found[0] = 1
    return np.multiply.accumulate(found)


_LETTERS: Final = mixed(np.arange(1, 257, dtype=np.uint64) * np.uint64(_BASE))
_POWERS: Final = _powers(_BASE)
_INVERSES: Final = _powers(pow(_BASE, -1, 2**64))
_SPREAD: Final = np.uint64(0xD6E8FEB86659FD93)
_HALF: Final = np.uint64(32)
_FACTORS: Final = mixed(np.arange(1, STRETCH // 8 + 1, dtype=np.uint64)) | np.uint64(1)


def _folded(text: str) -> bytes:
    """UTF-8 without the differences of case (but in ASCII) and form, and without signs outside of ASCII."""
    if text.isascii():
        return text.encode()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SIGNS.sub(b" ", text.encode("utf-8", "surrogatepass"))


def letters(text: str) -> bytes:
    """The letters and digits of a text and nothing between them. One byte each, two in most of Asia."""
    return _folded(text).translate(_TO_WORDS, _NEITHER)


def stretches(some: bytes, step: int, begin: int = 0) -> Hashes:
    """The hash of `STRETCH` letters at every `step`-th place from `begin`, as far as they are whole.

    Multilinear: the upper half of its bits is as good as random, the lower ones are not.
    """
    count = (len(some) - begin - STRETCH) // step + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    at = np.ndarray((count, STRETCH // 8), "<u8", some, begin, (step, 8))
    found: Hashes = at @ _FACTORS
    return found


def words(text: str) -> Hashes:
    """The hash of each word, in order. Equal words are equal, others differ but for a chance of about 2**-64."""
    data = _read(text)
    if len(data) <= _BLOCK:
        return _hashed(data)
    found = []
    begin = 0
    while begin < len(data):
        end = begin + _BLOCK
        if end < len(data) and (blank := data.rfind(b" ", begin, end)) > begin:
            end = blank
        found.append(_hashed(data[begin:end]))
        begin = end
    return np.concatenate(found)


def words_of_each(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """The words of all texts, one text after the other, and at which of them each text ends. As `words`, but faster."""
    found: list[Hashes] = []
    counts: list[int] = []
    block: list[bytes] = []
    size = 0

    def flush() -> None:
        begins = np.cumsum([0, *(len(data) + 1 for data in block[:-1])])
        hashes, places = _placed(b" ".join(block))
        found.append(hashes)
        counts.extend(np.diff(np.searchsorted(places, begins), append=len(places)).tolist())
        block.clear()

    for text in texts:
        data = _read(text)
        if block and size + len(data) >= _BLOCK:
            flush()
            size = 0
        if len(data) > _BLOCK:
            found.append(words(text))
            counts.append(len(found[-1]))
        else:
            block.append(data)
            size += len(data) + 1
    if block:
        flush()
    return np.concatenate(found) if found else np.zeros(0, np.uint64), np.cumsum(counts)


def _read(text: str) -> bytes:
    if not text.isascii():
        text = _UNSPACED.sub(r" \1 ", text)
    return _folded(text).translate(_TO_WORDS)


def _hashed(data: bytes) -> Hashes:
    return _placed(data)[0]


def _placed(data: bytes) -> tuple[Hashes, NDArray[np.int64]]:
    """The hashes of words, and where each begins."""
    letters = np.frombuffer(b" %b " % data, np.uint8)
    blank = letters == _BLANK
    # The last place before each word, and its last letter, in turn.
    edges = np.flatnonzero(blank[1:] != blank[:-1])
    before, last = edges[::2], edges[1::2]
    sums = _LETTERS.take(letters)
    sums *= _POWERS[: len(letters)]
    np.cumsum(sums, out=sums)
    found = sums[last]
    found -= sums[before]
    # Moved to the beginning, so that it does not matter where the word stands.
    found *= _INVERSES[before]
    return _spread(found), before


def _spread(found: Hashes) -> Hashes:
    """Every bit decides about the low bits, and the low ones about the high. In place."""
    found ^= found >> _HALF
    found *= _SPREAD
    found ^= found >> _HALF
    return found


def grams(hashes: Hashes, count: int) -> Hashes:
    """The hash of `count` words in a row, for each place at which so many begin; none when there are fewer."""
    if len(hashes) < count:
        return np.zeros(0, np.uint64)
    return _spread(_runs(hashes, count)) if count > 1 else hashes


def _runs(hashes: Hashes, count: int) -> Hashes:
    if count == 1:
        return hashes
    second = count // 2
    first = count - second
    left = _runs(hashes, first)
    right = left if second == first else _runs(hashes, second)
    found: Hashes = left[: len(hashes) - count + 1] * _POWERS[second]
    found += right[first:]
    return found
