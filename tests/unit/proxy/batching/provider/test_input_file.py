"""The file that a batch is made of: a line for each item that still waits, as the Batch API wants it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from proxy.batching.database import Database
from proxy.batching.provider.batch_rows import portions
from proxy.batching.provider.gathering import LINE_OVERHEAD_BYTES
from proxy.batching.provider.input_file import write_input
from proxy.batching.tables import batches, items
from tests.unit.proxy.batching.an_item import item, put

PATH = "/v1/chat/completions"


def written(database: Database, folder: Path) -> tuple[int, list[bytes]]:
    """How many lines, and the lines."""
    with database.transaction() as connection:
        connection.execute(
            insert(batches).values(id="b", kind="provider", state="gathered", upstream="openai", path=PATH, context=b"")
        )
        row = connection.execute(select(batches)).one()
    path = folder / "batch" / "in.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"what a killed dispatcher left")
    count = write_input(database, row, path)
    assert path.stat().st_mode & 0o777 == 0o600
    return count, path.read_bytes().splitlines(keepends=True)


def place(database: Database, *states: str) -> None:
    with database.transaction() as connection:
        for number, state in enumerate(states, 1):
            changes = {"state": state, "batch_id": "b", "position": len(states) - number}
            connection.execute(update(items).where(items.c.id == f"item-{number}").values(**changes))


def test_in_order_and_without_what_was_cancelled(database: Database, tmp_path: Path) -> None:
    put(database, item(1), item(2), item(3), item(4))
    place(database, "batched", "cancelled", "batched", "batched")
    count, lines = written(database, tmp_path)
    assert count == 3
    assert [json.loads(line)["custom_id"] for line in lines] == ["item-4", "item-3", "item-1"]
    assert json.loads(lines[0]) == {
        "custom_id": "item-4",
        "method": "POST",
        "url": PATH,
        "body": {"model": "gpt-4o-mini", "messages": []},
    }


def test_a_body_of_several_lines_is_one_line_with_its_numbers_as_they_were(database: Database, tmp_path: Path) -> None:
    put(
        database,
        item(1, body=b'{\r\n "model": "m",\n "seed": 12345678901234567890, "top_p": 0.10}'),
        item(2, body=b"{\n"),
    )
    place(database, "batched", "batched")
    count, (line,) = written(database, tmp_path)
    assert count == 1
    assert b'"body":{"model":"m","seed":12345678901234567890,"top_p":0.10}}\n' in line


def test_no_line_is_longer_than_was_reckoned_with(database: Database, tmp_path: Path) -> None:
    body = b'{"model":"m"}'
    put(database, item(1, body=body))
    with database.transaction() as connection:
        connection.execute(update(items).values(id="x" * 64, state="batched", batch_id="b", position=0))
    _, (line,) = written(database, tmp_path)
    assert len(line) <= len(body) + LINE_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([5, 5], [[0, 1]]),
        ([5, 6], [[0], [1]]),
        ([99, 1, 99], [[0], [1], [2]]),
        ([1, 1, 1, 1], [[0, 1, 2], [3]]),
    ],
)
def test_portions_are_bounded_and_never_empty(sizes: list[int], expected: list[list[int]]) -> None:
    assert [*portions(list(enumerate(sizes)), bytes_max=10, count_max=3)] == expected
