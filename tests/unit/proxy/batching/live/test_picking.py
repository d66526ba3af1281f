"""Which items are asked live, in what order, and when a deadline takes one out of the queue for a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from proxy.batching.database import Database
from proxy.batching.finishing import requeue
from proxy.batching.live.escalation import escalate, is_any_due, is_due
from proxy.batching.live.picking import Picking, begin, undo
from proxy.batching.tables import items
from tests.unit.proxy.batching.an_item import CREATED_NS, NOW_NS, item, put, rows, states

SECOND = 1_000_000_000
NOT_LOCAL = items.c.upstream.not_in(["llama"])


def picked(
    database: Database, do: Callable[[Picking], object], *, now_ns: int = NOW_NS, bytes_max: int = 1000,
    alone: bool = False,
) -> list[str]:  # fmt: skip
    with database.reading() as connection:
        picking = Picking(connection, now_ns, bytes_max=bytes_max, alone=alone)
        do(picking)
        return [one.id for one in picking.picked]


def change(database: Database, number: int, **values: Any) -> None:
    with database.transaction() as connection:
        connection.execute(update(items).where(items.c.id == f"item-{number}").values(**values))


def local(number: int, **changes: Any) -> Any:
    return item(number, upstream="llama", **changes)


def test_the_items_of_an_upstream_come_in_order(database: Database) -> None:
    put(database, local(3), local(1), item(2), local(4, created_ns=CREATED_NS + 1), local(5))
    change(database, 4, position=7)
    assert picked(database, lambda p: p.local("llama", 3, 0)) == ["item-1", "item-4", "item-3"]
    assert picked(database, lambda p: p.local("llama", 0, 0)) == []
    assert picked(database, lambda p: p.local("other", 3, 0)) == []


def test_those_come_first_whose_deadline_is_near(database: Database) -> None:
    late = {number: NOW_NS + number * SECOND for number in (20, 10)}
    put(database, local(1), local(2), local(3, deadline_ns=late[20]), local(4, deadline_ns=late[10]))
    assert picked(database, lambda p: p.local("llama", 3, 60)) == ["item-4", "item-3", "item-1"]
    assert picked(database, lambda p: p.local("llama", 1, 60)) == ["item-4"]
    assert picked(database, lambda p: p.local("llama", 9, 60)) == ["item-4", "item-3", "item-1", "item-2"]


@pytest.mark.parametrize(
    "values",
    [
        {"state": "running"},
        {"state": "cancelled"},
        {"state": "done"},
        {"line": "another"},
        {"run_after_ns": NOW_NS + 1},
        {"mode": "file", "deadline_ns": NOW_NS},
    ],
)
def test_what_is_not_to_be_asked_is_passed_over(database: Database, values: dict[str, Any]) -> None:
    put(database, local(1))
    with database.reading() as connection:
        assert Picking(connection, NOW_NS, bytes_max=1, alone=False).is_any("llama")
    change(database, 1, **values)
    assert picked(database, lambda p: p.local("llama", 3, 60)) == []
    with database.reading() as connection:
        picking = Picking(connection, NOW_NS, bytes_max=1, alone=False)
        assert not picking.is_any("llama")
        assert not picking.is_urgent("llama", 1e6)


def test_a_call_that_is_too_late_is_picked_to_be_told_so(database: Database) -> None:
    put(database, local(1, deadline_ns=NOW_NS - 1))
    assert picked(database, lambda p: p.local("llama", 3, 60)) == ["item-1"]


def test_escalated_items_are_picked_whatever_the_upstream(database: Database) -> None:
    put(database, item(1), item(2, upstream="gone"), item(3), local(4))
    for number in (1, 2, 4):
        change(database, number, tier="flex")
    assert picked(database, lambda p: p.escalated(["llama"], 9)) == ["item-1", "item-2"]
    assert picked(database, lambda p: p.escalated(["llama"], 1)) == ["item-1"]


def test_bodies_are_bounded_and_nothing_overtakes_a_large_one(database: Database) -> None:
    put(database, local(1, body=b"x" * 60), local(2, body=b"x" * 60), local(3, body=b"x"))
    assert picked(database, lambda p: p.local("llama", 3, 0), bytes_max=100) == ["item-1"]
    assert picked(database, lambda p: p.local("llama", 3, 0), bytes_max=50) == []
    assert picked(database, lambda p: p.local("llama", 3, 0), bytes_max=50, alone=True) == ["item-1"]


def test_a_large_item_is_not_overtaken_by_those_of_other_upstreams(database: Database) -> None:
    put(database, item(1, body=b"x" * 60), local(2, body=b"x"))
    change(database, 1, tier="flex")

    def both(picking: Picking) -> None:
        picking.escalated(["llama"], 9)
        picking.local("llama", 9, 0)

    assert picked(database, both, bytes_max=50) == []
    assert picked(database, both, bytes_max=61) == ["item-1", "item-2"]


def test_what_is_begun_is_marked_and_begun_once(database: Database) -> None:
    put(database, local(1), local(2))
    with database.reading() as connection:
        picking = Picking(connection, NOW_NS, bytes_max=1000, alone=True)
        picking.local("llama", 2, 0)
    change(database, 1, state="cancelled")
    with database.transaction() as connection:
        assert [row.id for row in begin(connection, picking.picked)] == ["item-2"]
        assert begin(connection, picking.picked) == []
    assert states(database) == {"item-1": "cancelled", "item-2": "running"}
    with database.transaction() as connection:
        undo(connection, ["item-1", "item-2"])
    assert states(database) == {"item-1": "cancelled", "item-2": "queued"}


@pytest.mark.parametrize(
    ("waits_s", "left_s", "due"), [(3600, 899, True), (3600, 900, False), (600, 299, True), (600, 300, False)]
)
def test_a_deadline_is_near_when_little_and_less_than_half_is_left(
    database: Database, waits_s: int, left_s: int, due: bool
) -> None:
    deadline_ns = CREATED_NS + waits_s * SECOND
    now_ns = deadline_ns - left_s * SECOND
    assert is_due(CREATED_NS, deadline_ns, now_ns, 900) is due
    put(database, item(1, created_ns=CREATED_NS, deadline_ns=deadline_ns))
    with database.transaction() as connection:
        assert is_any_due(connection, NOT_LOCAL, now_ns, 900) is due
        assert escalate(connection, NOT_LOCAL, now_ns, 900) == due
    assert rows(database, "tier") == {"item-1": "flex" if due else ""}


LATE_NS = CREATED_NS + 3599 * SECOND


def escalated(database: Database) -> dict[str, Any]:
    with database.transaction() as connection:
        escalate(connection, NOT_LOCAL, LATE_NS, 900)
    found: dict[str, Any] = rows(database, "tier", "line")
    return found


@pytest.mark.parametrize(
    "values", [{"state": "batched"}, {"state": "done"}, {"mode": "file"}, {"upstream": "llama"}, {"tier": "standard"}]
)
def test_other_items_are_not_escalated(database: Database, values: dict[str, Any]) -> None:
    put(database, item(1))
    change(database, 1, **values)
    assert escalated(database)["item-1"][0] == values.get("tier", "")


def test_identical_items_stay_together_when_they_are_escalated(database: Database) -> None:
    put(database, item(1), item(2))
    change(database, 2, line="item-1")
    assert escalated(database) == {"item-1": ("flex", ""), "item-2": ("", "item-1")}


def test_one_whose_line_is_in_a_batch_is_asked_itself(database: Database) -> None:
    put(database, item(1), item(2))
    change(database, 1, state="batched")
    change(database, 2, line="item-1")
    assert escalated(database) == {"item-1": ("", ""), "item-2": ("flex", "")}


def test_what_goes_back_to_the_queue_keeps_its_tier(database: Database) -> None:
    put(database, item(1))
    escalated(database)
    with database.transaction() as connection:
        begin(connection, [])
        connection.execute(update(items).values(state="running"))
        requeue(connection, ["item-1"])
    assert picked(database, lambda p: p.escalated([], 5)) == ["item-1"]


def test_a_long_queue_is_not_walked_through(tmp_path: Path) -> None:
    """On SQLite: PostgreSQL plans by what is in its tables."""
    database = Database.open(f"sqlite:///{tmp_path / 'queue.db'}")
    queries: list[str] = []
    with database.reading() as connection:
        picking = Picking(connection, NOW_NS, bytes_max=1, alone=False)
        execute = connection.execute

        def noted(statement: Any, *arguments: Any) -> Any:
            compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
            queries.append(str(compiled))
            return execute(statement, *arguments)

        connection.execute = noted  # type: ignore[method-assign, assignment]
        picking.is_any("llama")
        picking.is_urgent("llama", 60)
        picking.escalated(["llama"], 5)
        plans = [[row.detail for row in execute(text(f"EXPLAIN QUERY PLAN {query}"))] for query in queries]
    database.close()
    names = ["items_by_upstream", "items_by_deadline", "items_by_tier"]
    assert all(len(plan) == 1 and name in plan[0] for plan, name in zip(plans, names, strict=True)), plans
