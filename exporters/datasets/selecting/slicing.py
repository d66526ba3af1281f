"""Time cut into slices of about the same work, by how many rows there are when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .source import Slice


class Count(NamedTuple):
    """What there is in a stretch of time, or in one of several buckets of it."""

    begin: int
    end: int
    rows: int
    bytes: int
    without_content: int
    bucket: str = ""

    def is_over(self, rows_max: int, bytes_max: int) -> bool:
        return self.rows > rows_max or (self.bytes > bytes_max and self.rows > 1)


def smaller(count: Count, rows_max: int, bytes_max: int) -> Sequence[Count]:
    """A stretch that time cannot cut as buckets by a hash of the id, each about as large as it may be."""
    buckets = min(count.rows, max(math.ceil(count.rows / rows_max), math.ceil(count.bytes / bytes_max)))
    return [
        Count(
            count.begin,
            count.end,
            count.rows // buckets + (bucket < count.rows % buckets),
            count.bytes // buckets,
            count.without_content // buckets + (bucket < count.without_content % buckets),
            f"{bucket}/{buckets}",
        )
        for bucket in range(buckets)
    ]


def slices_of(counts: Iterable[Count], rows_max: int, bytes_max: int) -> Sequence[Slice]:
    """Neighbours joined as long as they stay within the limits. `counts` are in order and do not overlap."""
    joined: list[Count] = []
    for count in counts:
        if joined and not count.bucket and not joined[-1].bucket:
            last = joined[-1]
            both = last._replace(end=count.end, rows=last.rows + count.rows, bytes=last.bytes + count.bytes)
            if not both.is_over(rows_max, bytes_max):
                joined[-1] = both
                continue
        joined.append(count)
    return [
        Slice(number=number, begin=one.begin, end=one.end, rows=one.rows, file=one.bucket)
        for number, one in enumerate(joined)
    ]
