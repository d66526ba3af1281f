"""Equal words have equal hashes and others do not, wherever they stand; what is hashed never changes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.comparing.grams import STRETCH, grams, letters, stretches, words, words_of_each

TEXTS = st.text(st.sampled_from("abAB12 .,\n_-"), max_size=60)


def spelt(text: str) -> list[str]:
    """What the words of a text in ASCII are."""
    return re.findall("[a-z0-9]+", text.lower())


@given(TEXTS, TEXTS)
def test_words_are_equal_when_their_letters_are(one: str, other: str) -> None:
    names, hashes = spelt(one) + spelt(other), [*words(one).tolist(), *words(other).tolist()]
    assert len(names) == len(hashes)
    assert len(set(zip(names, hashes, strict=True))) == len(set(names)) == len(set(hashes))


@given(TEXTS, TEXTS, st.integers(1, 9))
def test_runs_of_words_are_equal_when_their_words_are(one: str, other: str, count: int) -> None:
    runs, hashes = [], []
    for text in (one, other):
        names = spelt(text)
        runs += [tuple(names[at : at + count]) for at in range(len(names) - count + 1)]
        hashes += grams(words(text), count).tolist()
    assert len(runs) == len(hashes)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


def test_the_order_of_words_counts() -> None:
    assert not np.array_equal(grams(words("dog bites man"), 3), grams(words("man bites dog"), 3))


def test_a_long_text_is_hashed_as_a_short_one() -> None:
    names = [f"w{number}" for number in range(60_000)]
    found = words(" ".join(names))
    assert len(found) == len(names)
    assert np.array_equal(found[[0, 12_000, 59_999]], words("w0 w12000 w59999"))


def test_a_word_longer_than_a_block_is_some_words() -> None:
    assert 2 <= len(words("x" * 200_000)) <= 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("don\u2019t \u201cstop\u201d \u2014 now\u2026", 'don\'t "stop" - now...'),
        ("Stra\u00dfe \uff11\uff12 \ufb01n", "STRASSE 12 fin"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u4e16\u754c, \u4f60\u597d", "\u4e16 \u754c \u4f60 \u597d"),
        ("\u041c\u0418\u0420", "\u043c\u0438\u0440"),
    ],
)
def test_what_is_written_in_two_ways_is_one(one: str, other: str) -> None:
    assert words(one).tolist() == words(other).tolist()
    assert letters(one) == letters(other)


@pytest.mark.parametrize("size", [0, 1, 100, 65_535, 65_536, 65_537, 200_000])
def test_words_of_many_texts_are_those_of_each(size: int) -> None:
    texts = ["One word", "", "  ", "x" * size, "\u6211\u4eec \u00e9t\u00e9", "two " * (size // 4), "end", "!"]
    hashes, ends = words_of_each(texts)
    assert [found.tolist() for found in np.split(hashes, ends[:-1])] == [words(text).tolist() for text in texts]
    assert ends[-1] == len(hashes)


def test_a_script_without_blanks_has_words() -> None:
    assert len(words("\u6211\u4eec\u5728\u8fd9\u91cc abc")) == 6


def test_half_a_surrogate_is_no_error() -> None:
    assert len(words("a \ud800 b")) >= 2


def test_letters_are_what_is_left_without_case_blanks_and_signs() -> None:
    assert letters("  (A) Ab-1_2,\n\tz! ") == b"aab12z"
    assert letters("...") == b""


@given(st.integers(0, 100), st.integers(1, 20), st.integers(0, 40))
def test_stretches_are_looked_at_where_they_are_whole(length: int, step: int, begin: int) -> None:
    data = bytes(range(length))
    places = range(begin, len(data) - STRETCH + 1, step)
    found = stretches(data, step, begin)
    assert found.tolist() == [stretches(data[at : at + STRETCH], 1)[0] for at in places]


def test_every_letter_of_a_stretch_counts() -> None:
    data = b"abcdefghijklmnopqrstuvwxyz"[:STRETCH]
    changed = [data[:at] + b"0" + data[at + 1 :] for at in range(STRETCH)]
    upper_halves = {int(stretches(some, 1)[0]) >> 32 for some in (data, *changed)}
    assert len(upper_halves) == STRETCH + 1


def test_hashes_are_those_of_every_version() -> None:
    """The files of bundled evaluation sets are made of them."""
    assert words("Hello, w\u00f6rld \u4e16\u754c 42!")[:2].tolist() == [0x0176034081392BFB, 0x78EFB7F26E7BBDC4]
    assert grams(words("one two three four"), 3).tolist() == [0xE8C1AFF0938CB1BB, 0xE6855CD81DA5A3E6]
    assert stretches(b"abcdefghijklmnopqrstuvwxyz0123456789", 6).tolist() == [
        0x6EF225E9C2A84529,
        0x1F4512C36A401F6F,
        0x49EBA9190956601A,
    ]
