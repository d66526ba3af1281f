"""How the prompts of an application are laid out: what stays, what varies, and what varies before something that stays.

A prompt is read as a row of marks: a piece that most calls have (static), a run of pieces between two of those
(a slot, named by what stands before it), or the rest.
"""

from __future__ import annotations

import bisect
import statistics
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final

from .grouping import RECURS
from .prompts import HEAD, SCHEMA, TOOL, Call, Pieces

STATIC_SHARE: Final = 0.6
"""Of the calls must have a piece for it to be a part of the application's prompt."""
VALUES_MAX: Final = 200
"""Looked at of one slot."""
VALUE_CHARACTERS: Final = 600
START: Final = -1
RESULT: Final = "tool"
"""The role of what a tool answered, which is never a part of the application's own prompt."""

Mark = int
"""A norm, and from the second time on in one prompt which time it is: `norm | times_before << 32`."""


@dataclass(slots=True)
class Slot:
    """A place before static text where calls differ."""

    after: Mark
    calls: int = 0
    following: int = 0
    """Static tokens behind it, summed over the calls."""
    positions: list[int] = field(default_factory=list)
    """Tokens before it."""
    values: list[tuple[Call, int, int]] = field(default_factory=list)
    """Calls, and from which to which of their pieces."""
    distinct: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Layout:
    """`rank` orders static marks as most calls do; `usual` is the wording that most calls have of each."""

    calls: Sequence[Call]
    pieces: Pieces
    rank: dict[Mark, float]
    usual: dict[Mark, int]
    wordings: dict[Mark, Counter[int]]
    slots: list[Slot]
    tools: list[int]
    """Every tool that recurs, in the usual wording and order."""
    common: set[Mark]
    """What most calls have, though it may be too short to stand for something."""

    def is_static(self, mark: Mark) -> bool:
        return mark in self.usual


def marks_of(call: Call, pieces: Pieces) -> list[Mark]:
    """A mark for each piece, static or not."""
    norms = [pieces.norms[number] for number in call.numbers]
    if len(set(norms)) == len(norms):
        return norms
    seen: dict[int, int] = {}
    marks = []
    for norm in norms:
        before = seen.get(norm, 0)
        seen[norm] = before + 1
        marks.append(norm | before << 32)
    return marks


def lay_out(calls: Sequence[Call], pieces: Pieces) -> Layout:
    """Read the prompts of one application; two passes, memory by the number of different pieces."""
    frequency: Counter[Mark] = Counter()
    together: Counter[tuple[Mark, int]] = Counter()
    for call in calls:
        marks = marks_of(call, pieces)
        frequency.update(marks)
        together.update(zip(marks, call.numbers, strict=True))
    wordings: dict[Mark, Counter[int]] = defaultdict(Counter)
    for (mark, number), count in together.items():
        if _can_stay(number, pieces):
            wordings[mark][number] = count
    del together
    least = STATIC_SHARE * len(calls)
    static = {mark for mark in wordings if frequency[mark] >= least}
    common = {mark for mark, count in frequency.items() if count >= least}
    usual = {mark: wordings[mark].most_common(1)[0][0] for mark in static}
    slots: dict[Mark, Slot] = {}
    orders: Counter[tuple[Mark, ...]] = Counter()
    for call in calls:
        orders[_read(call, pieces, static, common, slots)] += 1
    rank = _ranked(orders)
    return Layout(
        calls=calls,
        pieces=pieces,
        rank=rank,
        usual=usual,
        wordings={mark: wordings[mark] for mark in static},
        slots=sorted(slots.values(), key=lambda slot: slot.following, reverse=True),
        tools=_tools(wordings, rank, pieces),
        common=common,
    )


def _ranked(orders: Counter[tuple[Mark, ...]]) -> dict[Mark, float]:
    """The most frequent order; what is not in it stands behind what it mostly follows."""
    rank = {mark: float(index) for index, mark in enumerate(orders.most_common(1)[0][0])} if orders else {}
    places: dict[Mark, list[float]] = defaultdict(list)
    for order in orders:
        before = -1.0
        for mark in order:
            if mark in rank:
                before = rank[mark]
            else:
                places[mark].append(before + 0.5)
    return rank | {mark: statistics.median(found) for mark, found in places.items()}


def _tools(wordings: dict[Mark, Counter[int]], rank: dict[Mark, float], pieces: Pieces) -> list[int]:
    found = [
        (rank.get(mark, float(len(rank))), mark, counted.most_common(1)[0][0])
        for mark, counted in wordings.items()
        if pieces.roles[next(iter(counted))] == TOOL and counted.total() >= RECURS
    ]
    return [number for _, _, number in sorted(found)]


def _can_stay(number: int, pieces: Pieces) -> bool:
    role = pieces.roles[number]
    if role in (HEAD, RESULT):
        return False
    return role in (TOOL, SCHEMA) or not pieces.is_short(number)


def last_static(marks: Sequence[Mark], static: Container[Mark]) -> int:
    """Index of the last static mark; -1 when there is none."""
    return next((index for index in range(len(marks) - 1, -1, -1) if marks[index] in static), -1)


def _read(
    call: Call, pieces: Pieces, static: set[Mark], common: set[Mark], slots: dict[Mark, Slot]
) -> tuple[Mark, ...]:
    """Find the slots of a prompt; gives its static marks as they stand."""
    marks = marks_of(call, pieces)
    end = last_static(marks, static)
    stays = tuple(mark for mark in marks[: end + 1] if mark in static)
    following = sum(pieces.tokens[number] for number, mark in zip(call.numbers, marks, strict=True) if mark in static)
    before = passed = position = 0
    after: Mark = START
    begun = -1
    for index in range(end + 1):
        mark, tokens = marks[index], pieces.tokens[call.numbers[index]]
        if mark in static:
            if begun >= 0:
                _fill(slots, after, call, (begun, index), position, following - before, pieces)
                begun = -1
            before += tokens
            after = mark
        elif begun < 0 and mark not in common:
            begun, position = index, passed
        passed += tokens
    return stays


def _fill(
    slots: dict[Mark, Slot],
    after: Mark,
    call: Call,
    span: tuple[int, int],
    position: int,
    following: int,
    pieces: Pieces,
) -> None:
    slot = slots.get(after)
    if slot is None:
        slot = slots[after] = Slot(after)
    slot.calls += 1
    slot.following += following
    bisect.insort(slot.positions, position)
    if len(slot.distinct) < 10_000:
        slot.distinct.add(hash(tuple(call.numbers[span[0] : span[1]])))
    if len(slot.values) < VALUES_MAX:
        slot.values.append((call, *span))
