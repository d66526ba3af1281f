"""Following: each call once, whenever its row comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proxy.commands.filters import Filters
from proxy.commands.store import Row
from proxy.commands.tail import OVERLAP_S, Follower


class Table:
    """Answers as ClickHouse would: rows that ended since, the last one first."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.asked: list[Mapping[str, object]] = []

    def add(self, name: str, started: float, took_s: float = 0.0) -> None:
        self.rows.append({"request_id": name, "started": started, "duration_ms": took_s * 1000})

    def __call__(self, sql: str, values: Mapping[str, object]) -> Sequence[Row]:
        self.asked.append(values)
        since = values["ended"]
        assert isinstance(since, int)
        ended = [(row["started"] * 1000 + row["duration_ms"], row) for row in self.rows]
        return [row for at, row in sorted(ended, key=lambda one: one[0], reverse=True) if at >= since]


def _names(rows: Sequence[Row]) -> list[str]:
    return [row["request_id"] for row in rows]


def test_each_call_comes_once_in_the_order_of_its_end() -> None:
    table = Table()
    follower = Follower(table, Filters(), since=1000.0)
    table.add("old", 990.0)
    table.add("long", 999.0, took_s=5.0)
    table.add("short", 1001.0, took_s=1.0)
    assert _names(follower.poll(1005.0)) == ["short", "long"]
    assert _names(follower.poll(1006.0)) == []


def test_a_row_that_comes_late_is_not_missed() -> None:
    table = Table()
    follower = Follower(table, Filters(), since=1000.0)
    table.add("b", 1020.0)
    assert _names(follower.poll(1021.0)) == ["b"]
    table.add("a", 1001.0)
    assert _names(follower.poll(1022.0)) == ["a"]


def test_memory_ends_with_the_overlap() -> None:
    table = Table()
    follower = Follower(table, Filters(), since=0.0)
    for second in range(200):
        table.add(str(second), float(second))
        assert _names(follower.poll(second + 0.5)) == [str(second)]
        assert len(follower._seen) <= OVERLAP_S + 3


def test_filters_travel_along() -> None:
    table = Table()
    Follower(table, Filters(user="ada"), since=0.0).poll(1.0)
    assert table.asked[0]["user"] == "ada"
