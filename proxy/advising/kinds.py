"""What kind of thing varies in a place: a time, a random id, a counter, a person, documents."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "timestamp", "random_id", "counter", "user_text", "documents", "example_order", "variable_text",
    "whitespace", "tool_order", "tool_keys", "tool_changes", "tool_set", "schema_changes",
    "below_minimum", "expiry", "routing", "spread_keys", "no_breakpoint",
]  # fmt: skip

LONG: Final = 240
"""Characters; what is longer is a text and not a value."""
MOST: Final = 0.8

_TIME: Final = re.compile(
    r"\d{4}-\d\d?-\d\d?|\d{1,2}[:.]\d\d([:.]\d\d)?(\s*[ap]m)?\b|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\d{4}/\d\d?/\d\d?"
    r"|\b(mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(mon|tue|wed|thu|fri|sat|sun),"
    r"|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\.?\s+\d|\d\s+(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"|\b1[6-9]\d{8}(\d{3}|\d{6}|\d{9})?\b",
    re.IGNORECASE,
)
_UUID: Final = re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", re.IGNORECASE)
_RANDOM: Final = re.compile(
    r"\b(?=[\w-]*\d)(?=[\w-]*[a-zA-Z])[\w-]{8,}\b|\b[0-9a-fA-F]{12,}\b|\b[A-Za-z0-9+/]{24,}={0,2}"
)
_NUMBER: Final = re.compile(r"-?\d[\d,]*")
_SPACES: Final = re.compile(r"\s+")


class Sample(NamedTuple):
    """One call's text in a place; samples are in order of time."""

    text: str
    user: str
    session: str


class Variable(NamedTuple):
    """`start` and `end` are what the samples have in common at both ends, in characters, whole words alone."""

    kind: Kind
    start: int
    end: int
    certain: float
    """0 to 1."""


def classify(samples: Sequence[Sample]) -> Variable:
    """What the samples are; at least one."""
    texts = [sample.text for sample in samples]
    start, end = common_ends(texts)
    cores = [text[start : len(text) - end] for text in texts]
    told = [core for core in cores if core.strip()] or cores
    if _one_for_each([sample.user for sample in samples], cores) or _names_user(samples, cores):
        return Variable("user_text", start, end, 0.9)
    if _share(told, lambda core: bool(_UUID.search(core)) and len(core) < LONG) >= MOST:
        return Variable("random_id", start, end, 0.95)
    if _share(told, lambda core: bool(_TIME.search(core)) and len(core) < LONG) >= MOST:
        return Variable("timestamp", start, end, 0.95)
    if (rising := _rising(told)) is not None:
        return Variable("counter", start, end, 0.9 if rising else 0.6)
    if _share(told, lambda core: bool(_RANDOM.search(core)) and len(core) < LONG) >= MOST and len(set(told)) > 1:
        return Variable("random_id", start, end, 0.85)
    if _one_for_each([sample.session for sample in samples], cores):
        return Variable("user_text", start, end, 0.9)
    if (kind := _of_parts(told)) is not None:
        return Variable(kind, start, end, 0.8)
    return Variable("variable_text", start, end, 0.6)


def common_ends(texts: Sequence[str]) -> tuple[int, int]:
    """Characters that all texts share at the beginning and at the end, cut back to the ends of words."""
    first, last = min(texts), max(texts)
    shortest = min(map(len, texts))
    start = _same(first, last, shortest)
    while 0 < start < shortest and (texts[0][start - 1].isalnum() or texts[0][start - 1] in "-_:."):
        start -= 1
    backwards = [text[start:][::-1] for text in texts]
    first, last = min(backwards), max(backwards)
    shortest = min(map(len, backwards))
    end = _same(first, last, shortest)
    while 0 < end < shortest and (backwards[0][end - 1].isalnum() or backwards[0][end - 1] in "-_:."):
        end -= 1
    return start, end


def _same(one: str, other: str, most: int) -> int:
    return next((i for i in range(most) if one[i] != other[i]), most)


def _share(texts: Sequence[str], test: object) -> float:
    assert callable(test)
    return sum(bool(test(text)) for text in texts) / len(texts)


def _rising(cores: Sequence[str]) -> bool | None:
    """True: whole numbers that mostly rise with time. False: whole numbers. None: something else."""
    numbers = []
    for core in cores:
        found = _NUMBER.findall(core)
        if len(found) != 1 or len(_SPACES.sub("", core)) > len(found[0]) + 3 or len(found[0]) > 12:
            return None
        numbers.append(int(found[0].replace(",", "")))
    if len(set(numbers)) < 2:
        return None
    rises = sum(after >= before for before, after in itertools.pairwise(numbers))
    return rises >= MOST * (len(numbers) - 1)


def _one_for_each(whose: Sequence[str], cores: Sequence[str]) -> bool:
    """Each user (or session) has a text of its own, and it comes again."""
    pairs = {(who, core) for who, core in zip(whose, cores, strict=True) if who}
    people = {who for who, _ in pairs}
    return len(people) >= 2 and len(pairs) == len(people) < len(cores) and len({core for _, core in pairs}) >= 2


def _names_user(samples: Sequence[Sample], cores: Sequence[str]) -> bool:
    """The caller's own name for its user stands in the text."""
    pairs = [(sample.user, core) for sample, core in zip(samples, cores, strict=True) if sample.user]
    named = sum(user.lower() in core.lower() or core.strip(" \n.,:;") in user for user, core in pairs)
    return len(pairs) >= MOST * len(samples) and named >= MOST * len(pairs) > 0


def _of_parts(cores: Sequence[str]) -> Kind | None:
    """Lines that come again in other calls: in another order (examples), or another choice of them (documents)."""
    of_calls = [[line.strip() for line in core.splitlines() if len(line.strip()) > 20] for core in cores]
    of_calls = [lines for lines in of_calls if lines]
    if len(of_calls) < 3 or sum(map(len, cores)) / len(cores) < LONG / 2:
        return None
    sets = {frozenset(lines) for lines in of_calls}
    orders = {tuple(lines) for lines in of_calls}
    if len(orders) > len(sets) * 1.5 and len(sets) <= len(of_calls) / 2:
        return "example_order"
    return "documents" if sum(map(len, cores)) / len(cores) >= LONG else None
