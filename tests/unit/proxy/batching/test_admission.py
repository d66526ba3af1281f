"""Limits that hold whoever adds, and calls that find their item again."""

from __future__ import annotations

import pytest

from proxy.batching.admission import Newcomer, admit, note_delivered
from proxy.batching.database import Database
from proxy.batching.finishing import cancel
from proxy.batching.item import NewItem
from proxy.batching.queue import Added
from proxy.batching.refusal import KeyReused, QueueFull
from proxy.settings import Batch
from tests.unit.proxy.batching.an_item import KEEP_S, NOW_NS, answer, counted, finished, item, put, rows, states

BODY = b"x" * 100


def admitted(database: Database, *new: NewItem, limits: Batch | None = None, now_ns: int = NOW_NS) -> list[object]:
    """The id of the item that each is, or joined; the class of what refused it."""
    with database.transaction() as connection:
        outcomes = admit(connection, [Newcomer(one) for one in new], limits or Batch(), now_ns)
    return [outcome.id if isinstance(outcome, Added) else type(outcome) for outcome in outcomes]


def test_no_more_items_than_may_wait(database: Database) -> None:
    limits = Batch(queue_items_max=3)
    assert admitted(database, item(1), item(2), limits=limits) == ["item-1", "item-2"]
    assert admitted(database, item(3), item(4), limits=limits) == ["item-3", QueueFull]
    with database.transaction() as connection:
        answer(connection, finished(1))
        cancel(connection, ["item-2"], now_ns=NOW_NS, keep_s=KEEP_S)
    assert admitted(database, item(4), item(5), item(6), limits=limits) == ["item-4", "item-5", QueueFull]


def test_no_more_bytes_than_may_wait_and_a_smaller_one_still_fits(database: Database) -> None:
    limits = Batch(queue_bytes_max=250)
    large, small = item(2, body=b"x" * 151), item(3, body=b"x" * 150)
    assert admitted(database, item(1, body=BODY), large, small, limits=limits) == ["item-1", QueueFull, "item-3"]
    assert counted(database) == (2, 250)
    assert states(database).keys() == {"item-1", "item-3"}


def test_the_same_question_again_joins_until_its_reply_was_delivered(database: Database) -> None:
    assert admitted(database, item(1, rejoin="q"), item(2, rejoin="q")) == ["item-1", "item-1"]
    assert admitted(database, item(3, rejoin="q")) == ["item-1"]
    with database.transaction() as connection:
        answer(connection, finished(1))
    assert admitted(database, item(4, rejoin="q")) == ["item-1"]
    with database.transaction() as connection:
        note_delivered(connection, ["item-1"])
    assert admitted(database, item(5, rejoin="q"), item(6, rejoin="q")) == ["item-5", "item-5"]
    assert admitted(database, item(7, rejoin="q")) == ["item-5"]


def test_an_idempotency_key_joins_as_long_as_the_reply_is_kept(database: Database) -> None:
    def again(number: int) -> NewItem:
        return item(number, rejoin="key", rejoin_by_key=True)

    put(database, again(1))
    with database.transaction() as connection:
        answer(connection, finished(1))
        note_delivered(connection, ["item-1"])
    until_ns = NOW_NS + int(KEEP_S * 1e9)
    assert admitted(database, again(2), now_ns=until_ns - 1) == ["item-1"]
    assert admitted(database, again(3), now_ns=until_ns) == ["item-3"]


def test_an_idempotency_key_with_another_call_is_refused(database: Database) -> None:
    first = item(1, rejoin="key", rejoin_by_key=True)
    other_body = item(2, rejoin="key", rejoin_by_key=True, body=b"{}")
    other_path = item(3, rejoin="key", rejoin_by_key=True, path="/v1/responses")
    assert admitted(database, first, other_body) == ["item-1", KeyReused]
    assert admitted(database, other_path) == [KeyReused]
    assert counted(database)[0] == 1


@pytest.mark.parametrize("changes", [{"rejoin": ""}, {"rejoin": "q", "scope": "of others"}, {"rejoin": "another"}])
def test_nobody_joins_the_item_of_another(database: Database, changes: dict[str, str]) -> None:
    put(database, item(1, rejoin="q" if changes["rejoin"] else ""))
    assert admitted(database, item(2, **changes)) == ["item-2"]


def test_a_cancelled_item_is_not_joined(database: Database) -> None:
    put(database, item(1, rejoin="q", rejoin_by_key=True))
    with database.transaction() as connection:
        cancel(connection, ["item-1"], now_ns=NOW_NS, keep_s=KEEP_S)
    assert admitted(database, item(2, rejoin="q", rejoin_by_key=True)) == ["item-2"]


def test_a_full_queue_still_lets_those_in_who_join(database: Database) -> None:
    limits = Batch(queue_items_max=1)
    assert admitted(database, item(1, rejoin="q"), limits=limits) == ["item-1"]
    assert admitted(database, item(2), item(3, rejoin="q"), limits=limits) == [QueueFull, "item-1"]


def test_what_is_in_already_is_not_put_in_a_second_time(database: Database) -> None:
    """After a commit of which nothing was heard."""
    put(database, item(1, rejoin="q"))
    with database.transaction() as connection:
        outcomes = admit(connection, [Newcomer(item(1, rejoin="q")), Newcomer(item(2))], Batch(), NOW_NS, again=True)
    assert outcomes == [Added("item-1", joined=False), Added("item-2", joined=False)]
    assert counted(database)[0] == 2


def test_a_model_may_be_called_anything(database: Database) -> None:
    names = ["gpt\0four", "half \ud800 a pair", "模型"]
    assert admitted(database, *(item(number, model=name) for number, name in enumerate(names))) == [
        "item-0",
        "item-1",
        "item-2",
    ]
    assert list(rows(database, "model").values()) == ["gpt\ufffdfour", "half ? a pair", "模型"]
