"""One answer and one record for each item, however often it is answered, and nothing forgotten that hangs on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, update

from exporters.record import decode_record
from proxy.batching.database import Database
from proxy.batching.finishing import Finished, cancel, finish, recover, requeue
from proxy.batching.item import Answer, decode_headers
from proxy.batching.tables import counters, items, outbox
from tests.unit.proxy.batching.an_item import (
    KEEP_S,
    NOW_NS,
    answer,
    counted,
    credential_ids,
    finished,
    item,
    put,
    recorded,
    rows,
    shared,
    states,
)

UNTIL_NS = NOW_NS + int(KEEP_S * 1e9)


def do(database: Database, work: Callable[[Connection], object]) -> object:
    with database.transaction() as connection:
        return work(connection)


def change(database: Database, *numbers: int, **values: object) -> None:
    ids = [f"item-{number}" for number in numbers]
    do(database, lambda connection: connection.execute(update(items).where(items.c.id.in_(ids)).values(**values)))


def give_up(database: Database, *numbers: int) -> object:
    ids = [f"item-{number}" for number in numbers]
    return do(database, lambda connection: cancel(connection, ids, now_ns=NOW_NS, keep_s=KEEP_S))


def test_an_answer_is_kept_whole(database: Database) -> None:
    put(database, item(1), item(2))
    assert do(database, lambda connection: answer(connection, finished(1, b"\x00reply", 429))) == 1
    names = ("state", "status", "headers", "reply", "done_ns", "keep_until_ns")
    state, status, headers, *others = rows(database, *names)["item-1"]
    assert (state, status, decode_headers(headers)) == ("done", 429, [(b"x-request-id", b"req_1")])
    assert others == [b"\x00reply", NOW_NS, UNTIL_NS]
    assert states(database)["item-2"] == "queued"
    assert recorded(database) == ["item-1"]


def test_a_second_answer_changes_nothing(database: Database) -> None:
    put(database, item(1))
    do(database, lambda connection: answer(connection, finished(1, b"first"), finished(1, b"beside")))
    before = rows(database, "reply", "done_seq")
    assert do(database, lambda connection: answer(connection, finished(1, b"second"), finished(9))) == 0
    assert rows(database, "reply", "done_seq") == before == {"item-1": (b"first", 1)}
    assert recorded(database) == ["item-1"]
    assert counted(database) == (0, 0)


def test_the_numbers_of_those_that_are_done_rise_one_by_one(database: Database) -> None:
    put(database, *(item(number) for number in range(1, 5)))
    do(database, lambda connection: answer(connection, finished(3), finished(1)))
    give_up(database, 4)
    do(database, lambda connection: answer(connection, finished(2)))
    assert rows(database, "done_seq") == {"item-3": 1, "item-1": 2, "item-4": 3, "item-2": 4}
    with database.reading() as connection:
        assert connection.scalar(select(counters.c.value).where(counters.c.name == "done_seq")) == 4


def test_identical_items_share_the_answer_and_each_has_its_record(database: Database) -> None:
    put(database, *(item(number) for number in range(1, 5)))
    change(database, 1, 2, 3, state="batched")
    change(database, 2, 3, line="item-1")
    give_up(database, 3)
    assert do(database, lambda connection: answer(connection, finished(1, b"of one"))) == 2
    assert rows(database, "state", "reply") == {
        "item-1": ("done", b"of one"),
        "item-2": ("done", b"of one"),
        "item-3": ("cancelled", None),
        "item-4": ("queued", None),
    }
    assert recorded(database) == ["item-1", "item-2 shared"]
    assert counted(database)[0] == 1


def test_more_than_are_read_at_once_share_an_answer(database: Database) -> None:
    put(database, *(item(number) for number in range(1, 121)))
    change(database, *range(2, 121), line="item-1", state="batched")
    assert do(database, lambda connection: answer(connection, finished(1))) == 120
    assert len(recorded(database)) == 120
    assert set(states(database).values()) == {"done"}


def test_what_a_cancelled_item_cost_is_recorded_once(database: Database) -> None:
    put(database, item(1), item(2))
    change(database, 1, 2, state="batched")
    change(database, 2, line="item-1")
    assert give_up(database, 1) == 1
    assert rows(database, "state", "done_ns", "keep_until_ns")["item-1"] == ("cancelled", 0, 0)
    assert do(database, lambda connection: answer(connection, finished(1))) == 1
    assert do(database, lambda connection: answer(connection, finished(1))) == 0
    found = rows(database, "state", "done_ns", "keep_until_ns", "reply")
    assert found["item-1"] == ("cancelled", NOW_NS, UNTIL_NS, None)
    assert found["item-2"][0] == "done", "it waited for the line of the cancelled one"
    assert recorded(database) == ["item-1", "item-2 shared"]


def test_only_what_has_no_answer_is_cancelled_and_only_once(database: Database) -> None:
    put(database, item(1), item(2))
    do(database, lambda connection: answer(connection, finished(1)))
    assert give_up(database, 1, 2, 2) == 1
    assert give_up(database, 1, 2) == 0
    assert rows(database, "state", "keep_until_ns") == {"item-1": ("done", UNTIL_NS), "item-2": ("cancelled", UNTIL_NS)}
    assert counted(database) == (0, 0)


def test_who_waited_for_a_line_that_is_never_sent_is_asked_itself(database: Database) -> None:
    put(database, item(1), item(2))
    change(database, 2, state="batched", line="item-1", batch_id="b")
    give_up(database, 1)
    assert rows(database, "state", "line", "batch_id")["item-2"] == ("queued", "", "")


def test_what_failed_goes_back_to_the_queue(database: Database) -> None:
    put(database, item(1), item(2, mode="file"), item(3), item(4))
    change(database, 1, 2, 4, state="batched", batch_id="b", tier="flex")
    do(database, lambda connection: answer(connection, finished(4)))
    ids = [f"item-{number}" for number in range(1, 5)]
    do(database, lambda connection: requeue(connection, ids))
    found = rows(database, "state", "batch_id", "attempts", "tier")
    assert found == {
        "item-1": ("queued", "", 1, "flex"),
        "item-2": ("queued", "b", 1, "flex"),
        "item-3": ("queued", "", 0, ""),
        "item-4": ("done", "b", 0, "flex"),
    }
    change(database, 1, state="running")
    do(database, lambda connection: requeue(connection, ids, tier="standard"))
    assert rows(database, "tier", "attempts")["item-1"] == ("standard", 2)


def test_a_cancelled_item_that_comes_back_may_be_forgotten_and_frees_its_followers(database: Database) -> None:
    put(database, item(1), item(2))
    change(database, 1, 2, state="batched", batch_id="b")
    change(database, 2, line="item-1")
    give_up(database, 1)
    do(database, lambda connection: requeue(connection, ["item-1"]))
    found = rows(database, "state", "line")
    assert found == {"item-1": ("cancelled", ""), "item-2": ("queued", "")}
    assert rows(database, "keep_until_ns")["item-1"] > 0


def test_a_new_dispatcher_finds_everything_as_it_should_be(database: Database) -> None:
    put(database, item(1), item(2), item(3))
    change(database, 1, state="running")
    change(database, 2, state="batched")
    do(database, lambda connection: connection.execute(update(counters).values(value=77)))
    do(database, recover)
    assert rows(database, "state", "attempts") == {
        "item-1": ("queued", 1),
        "item-2": ("batched", 0),
        "item-3": ("queued", 0),
    }
    assert counted(database) == (3, 3 * len(item(1).body))


@pytest.mark.parametrize("ending", ["answered", "cancelled"])
def test_a_key_goes_with_the_last_item_that_needs_it(database: Database, ending: str) -> None:
    put(database, item(1, credential="key"), item(2, credential="key"), sealed=b"sealed")
    put(database, item(3, credential="other"), sealed=b"sealed")

    def end(number: int) -> None:
        if ending == "answered":
            do(database, lambda connection: answer(connection, finished(number)))
        else:
            give_up(database, number)

    end(1)
    assert credential_ids(database) == {"key", "other"}
    end(2)
    assert credential_ids(database) == {"other"}


def test_a_webhook_is_due_when_its_item_has_ended(database: Database) -> None:
    put(database, item(1, webhook="https://hooks.example/"), item(2), item(3, webhook="https://hooks.example/"))
    do(database, lambda connection: answer(connection, finished(1), finished(2)))
    give_up(database, 3)
    found = rows(database, "webhook_state", "webhook_at_ns")
    assert found == {"item-1": ("waiting", NOW_NS), "item-2": ("", 0), "item-3": ("waiting", NOW_NS)}


def test_an_item_may_have_no_record(database: Database) -> None:
    put(database, item(1))
    done = Finished("item-1", Answer(status=200), None)
    do(database, lambda connection: finish(connection, [done], now_ns=1, keep_s=1, shared=shared))
    assert (states(database), recorded(database)) == ({"item-1": "done"}, [])


def test_nothing_is_half_answered(database: Database) -> None:
    put(database, item(1))

    def and_fail(connection: Connection) -> None:
        answer(connection, finished(1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        do(database, and_fail)
    assert (states(database), recorded(database), counted(database)[0]) == ({"item-1": "queued"}, [], 1)


def test_the_record_is_the_one_that_was_given(database: Database) -> None:
    put(database, item(1))
    do(database, lambda connection: answer(connection, finished(1)))
    with database.reading() as connection:
        assert decode_record(connection.scalars(select(outbox.c.record)).one()) == finished(1).record
