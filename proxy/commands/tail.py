"""`penstock tail`: calls as they reach the store, from any number of proxies that record there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from .filters import Filters
from .requests import CALL_COLUMNS
from .store import Query, Row

OVERLAP_S = 30.0
"""A call is looked for until so long after its end: rows arrive late and out of order."""
LONGEST_CALL_S = 6 * 3600.0
POLL_ROWS_MAX = 5000
"""Of more calls within the overlap only the last ones are shown."""


class Follower:
    """Gives every call that ended after `since` once, though rows come late. `since`: Unix time, seconds."""

    def __init__(self, query: Query, filters: Filters, since: float) -> None:
        self._query = query
        self._filters = filters
        self._from = since
        self._seen: dict[str, float] = {}

    def poll(self, now: float) -> list[Row]:
        """The calls that were not there at the last poll, in the order in which they ended."""
        where, values = self._filters.where()
        sql = (
            f"SELECT {CALL_COLUMNS} FROM generations WHERE {where}"
            " AND timestamp >= fromUnixTimestamp64Milli({begun:Int64})"
            " AND toUnixTimestamp64Milli(timestamp) + duration_ms >= {ended:Int64}"
            " ORDER BY toUnixTimestamp64Milli(timestamp) + duration_ms DESC LIMIT {limit:UInt32}"
        )
        values |= {
            "begun": int((self._from - LONGEST_CALL_S) * 1000),
            "ended": int(self._from * 1000),
            "limit": POLL_ROWS_MAX,
        }
        rows = [row for row in self._query(sql, values) if row["request_id"] not in self._seen][::-1]
        for row in rows:
            self._seen[row["request_id"]] = row["started"] + row["duration_ms"] / 1e3
        self._from = max(self._from, now - OVERLAP_S)
        self._seen = {key: ended for key, ended in self._seen.items() if ended >= self._from - 1}
        return rows


def follow(
    follower: Follower, *, interval_s: float = 0.5, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Row]:
    """Never ends by itself."""
    while True:
        yield from follower.poll(time.time())
        sleep(interval_s)
