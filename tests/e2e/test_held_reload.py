"""A held call and a real reload: the SDK repeats the call by itself, and waits at the next worker for the same item."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import Row, select

from proxy.batching.database import Database
from proxy.batching.finishing import Finished, finish
from proxy.batching.tables import items
from tests.wire.deferred import HOLD, chat_answer, whole

from .serve import Penstock, penstock, until
from .stage import Stage

MESSAGES: Any = [{"role": "user", "content": "Can this wait?"}]


def _items(database: Database) -> list[Row[Any]]:
    with database.reading() as connection:
        return list(connection.execute(select(items)).all())


def _said(proxy: Penstock, text: str) -> None:
    until(proxy.output, lambda output: text in output, 60.0)
    assert text in proxy.output()


def _finish(database: Database, item_id: str) -> None:
    finished = [Finished(item_id, whole(chat_answer()), None)]
    with database.transaction() as connection:
        finish(connection, finished, now_ns=time.time_ns(), keep_s=3600, shared=_nobody)


def _statuses(proxy: Penstock) -> list[str]:
    """Of the calls that were put off, as their callers heard of it."""
    named = "SpanAttributes['penstock.deferral.request.id'] != ''"
    sql = f"SELECT SpanAttributes['http.response.status_code'] AS status FROM otel_traces WHERE {named}"
    return [row["status"] for row in proxy.query(f"{sql} ORDER BY Timestamp")]


def _nobody(*_: Any) -> Any:
    raise AssertionError("nobody shares a line here")


@pytest.mark.timeout(400)
async def test_a_held_call_is_held_on_by_the_next_worker(tmp_path: Path, stage: Stage) -> None:
    sections = {"batch": {"window_s": 100_000.0}}  # The test answers in the provider's place.
    with penstock(tmp_path, upstreams={"stage": f"{stage.url}/v1"}, sections=sections) as proxy:
        async with openai.AsyncOpenAI(
            base_url=proxy.base_url, api_key="sk-callers-own", default_headers=HOLD, timeout=60
        ) as client:
            call = asyncio.ensure_future(client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES))
            path = proxy.data_dir / "batch" / "queue.db"
            await asyncio.to_thread(until, path.exists, bool, 60.0)
            database = Database.open(f"sqlite:///{path}")
            (item,) = await asyncio.to_thread(until, lambda: _items(database), bool, 60.0)
            await asyncio.to_thread(proxy.reload)
            await asyncio.to_thread(_said, proxy, "loaded anew")
            statuses = await asyncio.to_thread(until, lambda: _statuses(proxy), lambda found: found == ["503"], 60.0)
            assert statuses == ["503"]
            assert not call.done()
            assert len(_items(database)) == 1
            _finish(database, item.id)
            made = await call
            database.close()
            await asyncio.to_thread(until, lambda: _statuses(proxy), lambda found: len(found) == 2, 60.0)
            assert _statuses(proxy) == ["503", "200"]
            assert proxy.rows() == []
    assert made.choices[0].message.content == "Hello."
