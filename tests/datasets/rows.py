"""The corpus without a store: what a selection would read of a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from exporters.datasets.example import Row
from exporters.datasets.selecting.source import Slice
from exporters.record import CallRecord, Feedback

from .corpus import Corpus


def rows_of(corpus: Corpus) -> list[Row]:
    """By time, with what feedback says."""
    feedback = {one.request_id: one for one in corpus.feedback}
    return [_row(call, feedback.get(call.request_id)) for call in corpus.calls]


class RowSource:
    """A `Source` over rows in memory, in slices of so many."""

    def __init__(self, rows: Sequence[Row], slice_rows: int = 1000) -> None:
        self._rows = rows
        self._slice_rows = slice_rows

    def slices(self) -> Sequence[Slice]:
        starts = range(0, len(self._rows), self._slice_rows)
        return [
            Slice(number=number, begin=start, end=start + self._slice_rows, rows=self._slice_rows)
            for number, start in enumerate(starts)
        ]

    def read(self, part: Slice) -> Iterator[Row]:
        yield from self._rows[part.begin : part.end]


def _row(call: CallRecord, opinion: Feedback | None) -> Row:
    given: dict[str, Any] = {
        name: getattr(call, name) for name in Row.__struct_fields__ if getattr(call, name, None) is not None
    }
    given |= {
        "timestamp_ns": call.start_ns,
        "model": call.request_model,
        "parameters": msgspec.json.encode(call.parameters).decode(),
    }
    if opinion is not None:
        given |= {"score": opinion.score, "label": opinion.label, "correction": opinion.correction or ""}
    return Row(**given)
