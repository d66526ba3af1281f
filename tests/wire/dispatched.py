"""A dispatcher with all of its parts on a queue of its own, in front of the provider of `tests/batch_provider.py`.

async with dispatched(settings_for(tmp_path, provider)) as here:
    await here.add(item(1), item(2))
    rows = await here.done(2)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select, update

from exporters.record import CallRecord
from proxy.batching.database import Database, queue_url
from proxy.batching.item import Context, NewItem, encode_context
from proxy.batching.queue import Queue
from proxy.batching.tables import batches, items
from proxy.dispatching import run
from proxy.settings import Batch, Price, Server, Settings, Upstream
from tests.batch_provider import Remote
from tests.batch_provider_replies import expected_text
from tests.unit.exporters.spooled import MemorySink, drain

PATIENCE_S = 60.0
KEY = "sk-of-the-upstream"
SECOND_NS = 1_000_000_000


def settings_for(folder: Path, provider: Remote, *, upstream: dict[str, Any] | None = None, **batch: Any) -> Settings:
    """Quick in everything; `batch` and `upstream` change that."""
    quick: dict[str, Any] = {"window_s": 0.1, "poll_s": 0.1, "poll_max_s": 0.2, "escalate_before_s": 0.0}
    named: dict[str, Any] = {"name": "openai", "base_url": provider.base_url, "api_key": KEY}
    return Settings(
        server=Server(data_dir=str(folder / "data")),
        upstreams=(Upstream(**named | (upstream or {})),),
        batch=Batch(**quick | batch),
        prices={"gpt-4o-mini": Price(input=2.0, output=4.0, tiers={"batch": 0.5})},
    )


def body_of(number: int, text: str = "") -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"number {number} {text}".strip()}]}


def item(number: int, text: str = "", **changes: Any) -> NewItem:
    """`text` goes into its prompt. `deadline_s` from now is an hour."""
    now_ns = time.time_ns()
    context = Context(
        request_id=f"req-{number}", trace_id=f"{number + 1:032x}", span_id=f"{number + 1:016x}", start_ns=now_ns
    )
    deadline_s = changes.pop("deadline_s", 3600.0)
    given: dict[str, Any] = {
        "id": f"item-{number}",
        "mode": "async",
        "scope": "ours",
        "upstream": "openai",
        "endpoint": "chat",
        "path": "/v1/chat/completions",
        "model": "gpt-4o-mini",
        "body": json.dumps(body_of(number, text)).encode(),
        "deadline_ns": now_ns + int(deadline_s * SECOND_NS),
        "created_ns": now_ns,
        "lot": "lot",
        "context": encode_context(context),
    }
    return NewItem(**given | changes)


def text_of(reply: bytes) -> str:
    """What a chat completion says."""
    text: str = json.loads(reply)["choices"][0]["message"]["content"]
    return text


def right(row: Row[Any]) -> bool:
    """Whether an item has the answer to its own question, and no other."""
    return bool(row.status == 200) and text_of(row.reply) == expected_text(json.loads(row.body))


@dataclass
class Dispatched:
    """A queue, and the dispatcher that may be stopped and started."""

    settings: Settings
    database: Database
    queue: Queue
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._stop.clear()
        self._running = asyncio.create_task(run(self.settings, self._stop))

    async def stop(self) -> None:
        if self._running is not None:
            self._stop.set()
            await self._running
            self._running = None

    async def later(self, seconds: float) -> None:
        """So much time passes for all calls and batches."""
        ns = int(seconds * SECOND_NS)

        def pass_by() -> None:
            with self.database.transaction() as connection:
                for table in (items, batches):
                    times = {name: table.c[name] - ns for name in ("created_ns", "deadline_ns")}
                    connection.execute(update(table).values(**times))

        await asyncio.to_thread(pass_by)

    async def add(self, *new: NewItem, credential: bytes | None = None) -> None:
        await asyncio.gather(*(self.queue.add(one, credential) for one in new))

    def rows(self) -> list[Row[Any]]:
        with self.database.reading() as connection:
            return list(connection.execute(select(items).order_by(items.c.created_ns, items.c.id)))

    def batches(self) -> list[Row[Any]]:
        with self.database.reading() as connection:
            return list(connection.execute(select(batches).order_by(batches.c.created_ns)))

    async def until(self, ask: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(ask):
            assert self._running is None or not self._running.done(), "the dispatcher has ended"
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}\n{self._state()}"
            await asyncio.sleep(0.03)

    async def done(self, count: int) -> list[Row[Any]]:
        """The items once so many are done and nothing is left at the provider."""
        await self.until(lambda: sum(row.state == "done" for row in self.rows()) >= count, f"{count} answers")
        await self.settled()
        return self.rows()

    async def settled(self) -> None:
        await self.until(lambda: {row.state for row in self.batches()} <= {"finished"}, "the end of all batches")

    async def records(self) -> list[CallRecord]:
        """All that reached the spool, once the dispatcher has nothing more to bring. Stops it."""
        await self.until(lambda: not self._owed(), "the records in the spool")
        await self.stop()
        sink = MemorySink()
        await asyncio.to_thread(drain, Path(self.settings.server.data_dir), sink)
        return sink.records

    def _owed(self) -> int:
        with self.database.reading() as connection:
            return len(connection.exec_driver_sql("SELECT id FROM outbox").all())

    def _state(self) -> str:
        rows = [(row.id, row.state, row.status, row.tier, row.attempts, row.line) for row in self.rows()][:20]
        return f"{rows}\n{[row._asdict() for row in self.batches()]}"


@asynccontextmanager
async def dispatched(settings: Settings, *, start: bool = True) -> AsyncIterator[Dispatched]:
    database = await asyncio.to_thread(Database.open, queue_url(settings))
    here = Dispatched(settings, database, Queue(settings))
    try:
        if start:
            here.start()
        yield here
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await here.stop()
        await here.queue.aclose()
        await asyncio.to_thread(database.close)
