"""A worker whose queue is answered by the test itself, in the dispatcher's place."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Row, select

from exporters.record import CallRecord, decode_record
from proxy.batching.finishing import Finished, finish
from proxy.batching.item import Answer
from proxy.batching.tables import items, outbox
from proxy.reply import RawHeaders
from tests.wire.proxied import PATIENCE_S, Proxied, proxied
from tests.wire.scripted import Script, ScriptedUpstream, json_reply

HOLD = {"x-penstock-batch": "hold"}
ASYNC = {"x-penstock-batch": "async"}
CHAT: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}
JSON: RawHeaders = [(b"content-type", b"application/json"), (b"x-request-id", b"req_up")]
LIVE = json_reply({"error": {"message": "asked live", "type": "server_error"}}, 418)


def chat_answer(text: str = "Hello.") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
    }


def whole(value: Any, status: int = 200, headers: RawHeaders = JSON) -> Answer:
    return Answer(status=status, headers=headers, body=json.dumps(value).encode())


async def queued(proxy: Proxied) -> Sequence[Row[Any]]:
    """All items, oldest first."""
    assert proxy.app.queue is not None
    statement = select(items).order_by(items.c.created_ns)
    return await proxy.app.queue.read(lambda connection: connection.execute(statement).all())


async def until_queued(proxy: Proxied, count: int = 1) -> Sequence[Row[Any]]:
    async with asyncio.timeout(PATIENCE_S):
        while len(rows := await queued(proxy)) < count:
            await asyncio.sleep(0.01)
    return rows


async def answer(proxy: Proxied, item_id: str, given: Answer) -> None:
    """What the dispatcher does when it has the reply."""
    assert proxy.app.queue is not None

    def work(connection: Any) -> int:
        finished = [Finished(item_id, given, None)]
        return finish(connection, finished, now_ns=time.time_ns(), keep_s=3600, shared=_nobody)

    assert await proxy.app.queue.run(work) == 1


async def owed(proxy: Proxied) -> list[CallRecord]:
    """The records of items on their way to the spool."""
    assert proxy.app.queue is not None
    statement = select(outbox.c.record).order_by(outbox.c.id)
    return [decode_record(data) for data in await proxy.app.queue.read(lambda c: c.scalars(statement).all())]


async def recorded(proxy: Proxied, count: int) -> list[CallRecord]:
    async with asyncio.timeout(PATIENCE_S):
        while len(proxy.records()) < count or proxy.app.server.open:
            await asyncio.sleep(0.01)
    return proxy.records()


async def until_held(proxy: Proxied, count: int) -> None:
    assert proxy.app.batch is not None
    async with asyncio.timeout(PATIENCE_S):
        while proxy.app.batch.held != count:
            await asyncio.sleep(0.01)


async def until_joined(proxy: Proxied, item_id: str, count: int) -> None:
    """So many callers wait for the item, which is in the queue."""
    assert proxy.app.batch is not None
    async with asyncio.timeout(PATIENCE_S):
        while len(proxy.app.batch._waiting._waiters.get(item_id, ())) != count:
            await asyncio.sleep(0.01)


async def until_delivered(proxy: Proxied) -> None:
    """Every item that there is."""
    async with asyncio.timeout(PATIENCE_S):
        while not all(row.delivered for row in await queued(proxy)):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def deferring(
    tmp_path: Path, script: Script = LIVE, *, token: str = "sk-one", **settings: Any
) -> AsyncIterator[tuple[ScriptedUpstream, Proxied, httpx.AsyncClient]]:
    """The upstream is for what is asked live."""
    upstream_settings = {"provider": "openai", **settings.pop("upstream", {})}
    async with (
        ScriptedUpstream(script) as upstream,
        proxied(tmp_path, upstream.url, upstream=upstream_settings, **settings) as proxy,
        httpx.AsyncClient(
            base_url=proxy.url, headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE_S
        ) as client,
    ):
        yield upstream, proxy, client


def _nobody(row: Row[Any], given: Answer, shared: bool) -> CallRecord:
    raise AssertionError("nobody shares a line here")
