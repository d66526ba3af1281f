"""What a dataset holds, read off its `sources.jsonl`: the same whether it was just built or somebody was taken out."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from ..errors import DatasetError
from ..options import Split
from ..provenance import SOURCES, Origin

_HOUR_NS: Final = 3_600 * 10**9
_WIDTHS_H: Final = (1, 3, 6, 12, 24, 48, 7 * 24, 28 * 24, 91 * 24, 364 * 24)
BINS_MAX: Final = 60
"""Of a timeline."""

_decode = msgspec.json.Decoder(Origin).decode


@dataclass(slots=True)
class Contents:
    """Counts over all lines. About ten bytes an example are held."""

    examples: Counter[Split] = field(default_factory=Counter)
    preferences: Counter[Split] = field(default_factory=Counter)
    tokens: Counter[Split] = field(default_factory=Counter)
    token_counts: array[int] = field(default_factory=lambda: array("Q"))
    """Of each example."""
    estimated: int = 0
    turns: Counter[int] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    with_tools: int = 0
    first_ns: int = 0
    """0: no example has a time."""
    last_ns: int = 0
    hours: Counter[tuple[int, Split]] = field(default_factory=Counter)
    """By hours since 1970; examples without a time are in none."""

    def add(self, origin: Origin) -> None:
        split, moment = origin.split, origin.timestamp_ns
        self.examples[split] += 1
        self.preferences[split] += origin.preference != 0
        self.tokens[split] += origin.tokens
        self.token_counts.append(origin.tokens)
        self.estimated += origin.estimated
        self.turns[origin.turns] += 1
        self.models[origin.model] += 1
        self.prompts[origin.prompt] += 1
        self.labels[origin.label] += 1
        self.with_tools += origin.tools
        if moment:
            self.first_ns = min(self.first_ns or moment, moment)
            self.last_ns = max(self.last_ns, moment)
            self.hours[moment // _HOUR_NS, split] += 1

    def timeline(self) -> list[tuple[str, dict[str, int]]]:
        """Examples by the time of their calls: the beginning of each stretch, ISO 8601, and how many of each split.

        Stretches are as long as it takes to have at most `BINS_MAX`; those without an example are there too.
        """
        if not self.hours:
            return []
        first, last = (function(hour for hour, _ in self.hours) for function in (min, max))
        width = next((width for width in _WIDTHS_H if last // width - first // width < BINS_MAX), _WIDTHS_H[-1])
        bins: dict[int, dict[str, int]] = {place: {} for place in range(first // width, last // width + 1)}
        for (hour, split), count in sorted(self.hours.items()):
            counts = bins[hour // width]
            counts[split] = counts.get(split, 0) + count
        return [(iso(place * width * _HOUR_NS), counts) for place, counts in bins.items()][-10 * BINS_MAX :]


def contents_of(folder: Path) -> Contents:
    """Raises `DatasetError`."""
    found = Contents()
    for origin in origins(folder):
        found.add(origin)
    return found


def origins(folder: Path) -> Iterator[Origin]:
    """Every line of `sources.jsonl`, in its order. Raises `DatasetError`."""
    try:
        with (folder / SOURCES).open("rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                yield _origin(line, number, folder)
    except OSError as error:
        raise DatasetError(f"{folder / SOURCES} cannot be read: {error.strerror or error}.") from error


def _origin(line: bytes, number: int, folder: Path) -> Origin:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{folder / SOURCES}, line {number}: it is not as it was written.") from error


def iso(moment_ns: int) -> str:
    """ISO 8601 in UTC, to the second; "" for 0."""
    if not moment_ns:
        return ""
    return datetime.fromtimestamp(moment_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")


def histogram(values: Iterable[int]) -> list[tuple[int, int]]:
    """How many values are at most so large and larger than the bound before: bounds are powers of two and their
    halfway points by ratio (1.41), from 16 up. Those below the first value's are left out."""
    counts: Counter[int] = Counter()
    for value, times in Counter(values).items():
        counts[_bound(value)] += times
    if not counts:
        return []
    low, high = min(counts), max(counts)
    return [(_upper(place), counts[place]) for place in range(low, high + 1)]


def _upper(place: int) -> int:
    return round(16 * 2 ** (place / 2))


def _bound(value: int) -> int:
    place = 0
    while _upper(place) < value:
        place += 1
    return place
