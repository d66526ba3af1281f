"""Which calls belong to one application: those of one model whose prompts share most of their recurring text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from .prompts import HEAD, Call, Pieces

RECURS: Final = 3
"""Calls that a piece must be in to say something about an application."""
RECURS_SHARE: Final = 0.01
ALIKE: Final = 0.5
"""Share of the recurring text that two prompts of one application have in common, by tokens and frequency."""
CANDIDATES_MAX: Final = 64
HEAVIEST: Final = 6
_SPOKEN: Final = frozenset({"assistant", "tool"})


def group(calls: Iterable[Call], pieces: Pieces) -> list[list[Call]]:
    """Applications, each with its calls in order of time; the largest first."""
    places: dict[tuple[str, str, str, str], list[Call]] = defaultdict(list)
    for call in calls:
        places[call.provider, call.upstream, call.model, call.prompt].append(call)
    groups = [found for place in places.values() for found in _applications(place, pieces)]
    for found in groups:
        found.sort(key=lambda call: call.at)
    return sorted(groups, key=len, reverse=True)


class _Application:
    def __init__(self, traits: frozenset[int], weight: float) -> None:
        self.traits = traits
        self.weight = weight
        self.calls: list[Call] = []


def _applications(calls: Sequence[Call], pieces: Pieces) -> list[list[Call]]:
    frequency: Counter[int] = Counter()
    of_calls = []
    for call in calls:
        traits = _traits(call, pieces)
        frequency.update(traits)
        of_calls.append(traits)
    least = max(RECURS, round(len(calls) * RECURS_SHARE))
    weights = {
        norm: tokens * frequency[norm]
        for norm, tokens in _norm_tokens(calls, pieces).items()
        if frequency[norm] >= least
    }
    found: dict[frozenset[int], _Application] = {}
    by_trait: dict[int, list[_Application]] = defaultdict(list)
    for call, traits in zip(calls, of_calls, strict=True):
        recurring = frozenset(trait for trait in traits if trait in weights)
        application = found.get(recurring)
        if application is None:
            application = found[recurring] = _nearest(recurring, weights, by_trait)
        application.calls.append(call)
    distinct = {id(application): application for application in found.values()}
    return [application.calls for application in distinct.values()]


def _nearest(traits: frozenset[int], weights: dict[int, int], by_trait: dict[int, list[_Application]]) -> _Application:
    """The application that is most alike, or a new one."""
    heaviest = sorted(traits, key=lambda trait: weights[trait], reverse=True)[:HEAVIEST]
    weight = float(sum(weights[trait] for trait in traits))
    candidates = {id(one): one for trait in heaviest for one in by_trait[trait][:CANDIDATES_MAX]}
    best, alike = None, ALIKE
    for one in candidates.values():
        shared = sum(weights[trait] for trait in traits & one.traits)
        likeness = shared / (weight + one.weight - shared) if shared else 0.0
        if likeness >= alike:
            best, alike = one, likeness
    if best is None:
        best = _Application(traits, weight)
        for trait in heaviest:
            by_trait[trait].append(best)
    return best


def _traits(call: Call, pieces: Pieces) -> frozenset[int]:
    """What a prompt says, but for what the model and its tools have said."""
    return frozenset(
        pieces.norms[number]
        for number in call.numbers
        if pieces.roles[number] not in _SPOKEN and pieces.roles[number] != HEAD and not pieces.is_short(number)
    )


def _norm_tokens(calls: Sequence[Call], pieces: Pieces) -> dict[int, int]:
    return {pieces.norms[number]: pieces.tokens[number] for call in calls for number in call.numbers}
