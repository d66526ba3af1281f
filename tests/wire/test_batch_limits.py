"""Held calls and a worker that ends; a queue that takes nothing more, or cannot be asked."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from exporters.spool import SpoolWriter
from proxy.app import App, build
from proxy.settings import Batch, Server, Settings, Upstream
from tests.wire.as_openai import USER
from tests.wire.deferred import (
    ASYNC,
    CHAT,
    HOLD,
    answer,
    chat_answer,
    deferring,
    queued,
    recorded,
    until_held,
    until_joined,
    until_queued,
    whole,
)
from tests.wire.proxied import PATIENCE_S, Proxied

# A worker that ends


def worker(tmp_path: Path, slot: int) -> Proxied:
    settings = Settings(
        server=Server(data_dir=str(tmp_path)),
        upstreams=(Upstream(name="scripted", base_url="http://127.0.0.1:1/v1"),),
    )
    spool = SpoolWriter(tmp_path / "spool", slot)
    return Proxied(build(settings, spool, lambda wanted: None), 0, spool)


async def close(app: App) -> None:
    await app.server.shutdown(0.5)
    await app.aclose()


async def test_the_sdk_goes_on_waiting_at_the_next_worker(tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    old, new = worker(tmp_path, 0), worker(tmp_path, 1)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(old.app.server, sock=listening.dup())
    async with openai.AsyncOpenAI(
        api_key="sk-one", base_url=f"http://127.0.0.1:{port}/v1", max_retries=2, default_headers=HOLD, timeout=60
    ) as client:
        call = asyncio.ensure_future(client.chat.completions.create(model="m", messages=USER))
        (item,) = await until_queued(old)
        await until_joined(old, item.id, 1)
        listener.close()
        successor = await loop.create_server(new.app.server, sock=listening)
        old.app.begin_draining()
        async with asyncio.timeout(PATIENCE_S):
            await old.app.server.emptied(0.0)
        (first,) = await recorded(old, 1)
        await close(old.app)
        await until_joined(new, item.id, 1)
        await answer(new, item.id, whole(chat_answer()))
        made = await call
        (second,) = await recorded(new, 1)
        assert len(await queued(new)) == 1
    successor.close()
    await close(new.app)
    assert made.choices[0].message.content == "Hello."
    assert (first.kind, first.outcome, first.status) == ("deferral", "rejected", 503)
    assert (second.kind, second.outcome, second.item_id) == ("deferral", "answered", item.id)


async def test_held_calls_end_with_their_worker(tmp_path: Path) -> None:
    async with deferring(tmp_path) as (_, proxy, client):
        unary = asyncio.ensure_future(client.post("/chat/completions", json=CHAT, headers=HOLD))
        streamed = asyncio.ensure_future(client.post("/chat/completions", json=CHAT | {"stream": True}, headers=HOLD))
        (item,) = await until_queued(proxy)
        await until_joined(proxy, item.id, 2)
        async with httpx.AsyncClient(base_url=proxy.url, timeout=60) as kept:
            await kept.post("/chat/completions", json=CHAT)
            proxy.app.begin_draining()
            one, other = await unary, await streamed
            late = await kept.post("/chat/completions", json=CHAT, headers=HOLD)
        await until_held(proxy, 0)
        (row,) = await queued(proxy)
    assert (one.status_code, one.headers["retry-after"]) == (503, "1")
    assert one.headers["connection"] == "close"
    assert (late.status_code, late.json()["error"]["code"]) == (503, "hold_ended")
    assert other.status_code == 200
    error = json.loads(other.content.removeprefix(b"data: "))["error"]
    assert (error["code"], "repeat" in error["message"]) == ("hold_ended", True)
    assert (row.state, row.delivered) == ("queued", False)


# A queue that does not take it


@pytest.mark.parametrize("limits", [{"queue_items_max": 1}, {"queue_bytes_max": 130}])
async def test_a_full_queue_takes_no_more(tmp_path: Path, limits: dict[str, Any]) -> None:
    async with deferring(tmp_path, batch=Batch(**limits)) as (_, proxy, client):
        first = await client.post("/chat/completions", json=CHAT, headers=ASYNC)
        held = await client.post("/chat/completions", json=CHAT, headers=HOLD)
        other = await client.post("/chat/completions", json=CHAT, headers=ASYNC)
        records = await recorded(proxy, 3)
        await until_held(proxy, 0)
    assert first.status_code == 202
    for refused in (held, other):
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "batch_queue_full")
        assert int(refused.headers["retry-after"]) > 0
    assert [(one.kind, one.outcome) for one in records[1:]] == [("call", "rejected")] * 2


async def test_a_queue_that_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "batch").write_text("no folder")
    async with deferring(tmp_path) as (_, proxy, client):
        replies = [
            await client.post("/chat/completions", json=CHAT, headers=HOLD),
            await client.post("/chat/completions", json=CHAT, headers=ASYNC),
            await client.get(f"{proxy.url.removesuffix('/v1')}/penstock/deferred/dfr_1"),
        ]
        live = await client.post("/chat/completions", json=CHAT)
        await until_held(proxy, 0)
        (tmp_path / "batch").unlink()
        later = await client.post("/chat/completions", json=CHAT, headers=ASYNC)
    assert {(one.status_code, one.json()["error"]["code"]) for one in replies} == {(503, "batch_queue_unavailable")}
    assert {one.headers["retry-after"] for one in replies} == {"5"}
    assert live.status_code == 418
    assert later.status_code == 202


async def test_an_item_may_be_so_long(tmp_path: Path) -> None:
    async with deferring(tmp_path, batch=Batch(item_bytes_max=100)) as (_, _, client):
        long = CHAT | {"user": "u" * 100}
        refused = await client.post("/chat/completions", json=long, headers=ASYNC)
        fits = await client.post("/chat/completions", json=CHAT, headers=ASYNC)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
    assert fits.status_code == 202


async def test_where_nothing_is_deferred_the_header_is_only_a_header(tmp_path: Path) -> None:
    async with deferring(tmp_path, batch=Batch(enabled=False)) as (upstream, proxy, client):
        reply = await client.post("/chat/completions", json=CHAT, headers=HOLD)
        missing = await client.get(f"{proxy.url.removesuffix('/v1')}/penstock/deferred/dfr_1")
    assert reply.status_code == 418
    assert missing.json()["error"]["code"] == "not_found"
    assert len(upstream.requests) == 1
    assert not (tmp_path / "batch").exists()
