"""A worker with an upstream that has no Batch API, and what the dispatcher does for it: real but for the model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
from sqlalchemy import Connection, Row, select, update

from proxy.batching.database import Database, queue_url
from proxy.batching.finishing import Finished, finish
from proxy.batching.item import Answer
from proxy.batching.lease import Lease, LeaseHolder
from proxy.batching.local.batches import LocalBatches
from proxy.batching.records import ItemRecords
from proxy.batching.tables import items
from proxy.settings import Server, Settings, Upstream

from .proxied import PATIENCE_S, Proxied, proxied

JSON = [(b"content-type", b"application/json"), (b"x-request-id", b"req_upstream")]
MODEL = "tiny"


def chat(custom_id: str, content: str = "Is it open?", **body: Any) -> dict[str, Any]:
    """A line of an input file."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": content}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": asked}


def jsonl(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def said(row: Row[Any]) -> Answer | None:
    """What the model says: the question again."""
    asked = json.loads(row.body)
    text = asked["messages"][0]["content"]
    if text == "fail":
        error = {"message": "It will not.", "type": "invalid_request_error", "param": "messages", "code": "no"}
        return Answer(status=400, headers=JSON, body=json.dumps({"error": error}).encode())
    reply = {
        "id": f"chatcmpl-{row.custom_id}",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    return Answer(status=200, headers=JSON, body=json.dumps(reply, indent=1).encode())


@dataclass
class Emulated:
    """`answer` is the model: None leaves an item in the queue."""

    proxy: Proxied
    settings: Settings
    database: Database
    client: openai.AsyncOpenAI
    part: LocalBatches
    answer: Callable[[Row[Any]], Answer | None] = said
    running: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is set the dispatcher goes on."""
    asked: list[str] = field(default_factory=list)
    """The custom ids of the items that were answered."""
    dispatching: asyncio.Task[None] | None = None

    async def over(self, batch_id: str, **options: Any) -> openai.types.Batch:
        """The batch when it is over."""
        return await self.until(batch_id, "completed", "failed", "expired", "cancelled", **options)

    async def until(self, batch_id: str, *statuses: str, **options: Any) -> openai.types.Batch:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                batch = await self.client.batches.retrieve(batch_id, **options)
                if batch.status in statuses:
                    return batch
                if self.dispatching is not None and self.dispatching.done():
                    await self.dispatching
                await asyncio.sleep(0.02)

    async def submit(self, *lines: Any, **more: Any) -> openai.types.Batch:
        """A batch of chats whose input are these lines."""
        file = await self.client.files.create(file=("input.jsonl", jsonl(*lines)), purpose="batch")
        return await self.client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **more
        )

    async def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """Of a file, parsed."""
        assert file_id is not None
        content = await self.client.files.content(file_id)
        return [json.loads(line) for line in content.text.splitlines()]

    def rows(self, query: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(query).all())

    async def dispatch(self, lease: Lease) -> None:
        records = ItemRecords(self.settings)
        while True:
            await self.running.wait()
            await self.part.step(lease)
            await lease.run(lambda connection: self._answer(connection, records))
            await asyncio.sleep(0.005)

    def _answer(self, connection: Connection, records: ItemRecords) -> None:
        queued = select(items).where(items.c.mode == "file", items.c.state == "queued").order_by(items.c.position)
        finished = []
        for row in connection.execute(queued).all():
            if (answer := self.answer(row)) is not None:
                connection.execute(update(items).where(items.c.id == row.id).values(state="running"))
                finished.append(Finished(row.id, answer, records.of_item(row, answer, batch_id=row.batch_id)))
                self.asked.append(row.custom_id)
        now_ns = self.database.now_ns(connection)
        finish(connection, finished, now_ns=now_ns, keep_s=60, shared=_nobody)


def _nobody(*_: Any) -> Any:
    raise AssertionError("nothing is shared")


@asynccontextmanager
async def emulated(tmp_path: Path, **overrides: Any) -> AsyncIterator[Emulated]:
    """With a dispatcher in the same loop, at work from the beginning. Keyword tables override settings."""
    upstream = {"batch": "local", **overrides.pop("upstream", {})}
    settings = Settings(
        server=Server(data_dir=str(tmp_path)),
        upstreams=(Upstream(name="scripted", base_url="http://127.0.0.1:9/v1", **upstream),),
        **{name: value for name, value in overrides.items() if name == "batch"},
    )
    async with proxied(tmp_path, "http://127.0.0.1:9", upstream=upstream, **overrides) as proxy:
        database = Database.open(queue_url(settings))
        holder = LeaseHolder(database)
        lease = await holder.acquire()
        assert lease is not None
        client = openai.AsyncOpenAI(base_url=proxy.url, api_key="sk-callers-own", max_retries=0, timeout=PATIENCE_S)
        part = LocalBatches(settings, database, ItemRecords(settings))
        one = Emulated(proxy, settings, database, client, part)
        one.running.set()
        task = one.dispatching = asyncio.create_task(one.dispatch(lease))
        try:
            yield one
        finally:
            task.cancel()
            await asyncio.wait([task])
            await client.close()
            await holder.release()
            database.close()
        if not task.cancelled():
            await task
