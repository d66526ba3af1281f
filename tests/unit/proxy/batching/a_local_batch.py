"""A batch of an upstream that has no Batch API: its rows, and the dispatcher's part that takes it through its life."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Row, insert, select, update

from proxy.batching import admission, sealing
from proxy.batching.database import Database
from proxy.batching.finishing import Finished, finish
from proxy.batching.item import Answer, Context, encode_context
from proxy.batching.lease import LeaseLost
from proxy.batching.local import batches as local_batches
from proxy.batching.local import files
from proxy.batching.local import inputs as local_input
from proxy.batching.local import outputs as local_output
from proxy.batching.local.batches import LocalBatches
from proxy.batching.local.files import Owner
from proxy.batching.local.objects import KEPT_S, WINDOW_S
from proxy.batching.records import ItemRecords
from proxy.batching.tables import batches, items
from proxy.settings import Settings

T = TypeVar("T")
S = 1_000_000_000
OWNER = Owner("mine", "tiny")
CONTEXT = Context(request_id="a" * 32, trace_id="b" * 32, span_id="c" * 16, start_ns=7 * S)


class Killed(Exception):
    """The dispatcher is no more."""


@dataclass
class Lease:
    """Held, unless `kills` says that the dispatcher dies in the transaction of that number."""

    database: Database
    kills: Callable[[int], str] = lambda number: ""
    number: int = 0

    async def run(self, work: Callable[[Connection], T]) -> T:
        self.number += 1
        kill = self.kills(self.number)
        with self.database.transaction() as connection:
            result = work(connection)
            if kill == "before":
                raise Killed
            if kill == "lost":
                raise LeaseLost
        if kill == "after":
            raise Killed
        return result


@dataclass
class LocalBatch:
    """Step it with `step`, or take it to its end with `finish`. Two dispatchers never share an object."""

    settings: Settings
    database: Database
    lease: Lease
    id: str = "batch_1"
    asked: list[str] = field(default_factory=list)
    part: LocalBatches | None = None

    @classmethod
    def begun(cls, settings: Settings, database: Database, *lines: Any, id: str = "batch_1", **more: Any) -> LocalBatch:  # noqa: A002
        """Uploaded and created at this moment. Lines are written as JSON unless they are bytes."""
        batch = cls(settings, database, Lease(database), id)
        data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
        with database.transaction() as connection:
            now_ns = database.now_ns(connection)
            file_id = f"file-of-{id}"
            files.begin(connection, OWNER, file_id, files.UPLOADING, now_ns)
            for number, start in enumerate(range(0, len(data), files.PIECE_BYTES)):
                files.append(connection, file_id, number, data[start : start + files.PIECE_BYTES])
            files.complete(connection, file_id, filename="in.jsonl", purpose="batch", expires_ns=0)
            values = {
                "id": id,
                "kind": "local",
                "state": "validating",
                "status": "validating",
                "scope": OWNER.scope,
                "upstream": OWNER.upstream,
                "path": "/v1/chat/completions",
                "input_file_id": file_id,
                "metadata": "null",
                "created_ns": now_ns,
                "expires_ns": now_ns + WINDOW_S * S,
                "output_expires_s": KEPT_S,
                "context": encode_context(CONTEXT),
            }
            if more.get("credential"):
                sealing.keep(connection, {more["credential"]: b"sealed"}, now_ns)
            connection.execute(insert(batches).values(**values | more))
        return batch

    @property
    def row(self) -> Row[Any]:
        with self.database.reading() as connection:
            return connection.execute(select(batches).where(batches.c.id == self.id)).one()

    def change(self, **values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(update(batches).where(batches.c.id == self.id).values(**values))

    async def step(self) -> float:
        if self.part is None:
            self.part = LocalBatches(self.settings, self.database, ItemRecords(self.settings))
        try:
            return await self.part.step(self.lease)
        except (Killed, LeaseLost):
            self.part = None
            return 0.0

    def answer(self, most: int = 1000) -> int:
        """Give queued items their answers, in their order; how many."""
        records = ItemRecords(self.settings)
        with self.database.transaction() as connection:
            queued = select(items).where(items.c.batch_id == self.id, items.c.state == "queued")
            rows = connection.execute(queued.order_by(items.c.position).limit(most)).all()
            finished = [
                Finished(row.id, answered(row), records.of_item(row, answered(row), batch_id=self.id)) for row in rows
            ]
            self.asked += [row.custom_id for row in rows]
            finish(connection, finished, now_ns=self.database.now_ns(connection), keep_s=60, shared=_nobody)
        return len(finished)

    async def until(self, *states: str, most: int = 1000) -> Row[Any]:
        """Step it, and answer up to `most` items after each step, until it is in one of these states."""
        for _ in range(2000):
            if self.row.state in states:
                return self.row
            await self.step()
            if most:
                self.answer(most)
        raise AssertionError(self.row)

    def lines(self, file_id: str) -> list[dict[str, Any]]:
        with self.database.reading() as connection:
            content, number = b"", -1
            while found := files.piece(connection, file_id, number):
                number, data = found
                content += data
            row = files.find(connection, OWNER, file_id, 0)
            assert row is not None
            assert row["bytes"] == len(content)
        return [json.loads(line) for line in content.splitlines()]

    def count(self, table: Any = items, *conditions: Any) -> int:
        with self.database.reading() as connection:
            return len(connection.execute(select(table).where(*conditions)).all())


def line(custom_id: str, content: str = "Is it open?", **more: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body} | more


def answered(row: Row[Any]) -> Answer:
    """The question again; a question `400` is refused with that status."""
    content = json.loads(row.body)["messages"][0]["content"]
    usage = {"prompt_tokens": 2, "completion_tokens": 1}
    body = json.dumps({"said": content, "usage": usage}).encode()
    return Answer(status=int(content) if content.isdigit() else 200, body=body)


def _nobody(*_: Any) -> Any:
    raise AssertionError("nothing is shared")


LINES = [line(f"line {n}", "400" if n % 5 == 2 else f"{n}?") for n in range(23)]


def waiting(database: Database) -> tuple[int, int]:
    """Items and bytes that count against the limits of the queue."""
    with database.reading() as connection:
        return admission.waiting(connection)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small slices that a few lines need many."""
    monkeypatch.setattr(files, "PIECE_BYTES", 700)
    monkeypatch.setattr(local_input, "_LOADED_MAX", 4)
    monkeypatch.setattr(local_output, "_WRITTEN_MAX", 5)
    monkeypatch.setattr(local_batches, "_PIECE_MAX", 3)
    monkeypatch.setattr(local_batches, "_COUNTED_MAX", 2)
