"""SIGHUP under load with everything real: no call fails, and every call is one row."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.wire.scripted import json_reply

from .serve import Penstock, penstock, until
from .stage import Stage, chat_reply

CLIENTS = 8
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}


class Callers:
    """Clients that keep their connections and call again and again; a failed call raises out of the `with`."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/chat/completions"
        self._enough = asyncio.Event()
        self.answered = 0

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=60) as client, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._call(client))

    async def _call(self, client: httpx.AsyncClient) -> None:
        while not self._enough.is_set():
            reply = await client.post(self._url, json=BODY)
            assert reply.status_code == 200, reply.text
            self.answered += 1

    def stop(self) -> None:
        self._enough.set()


async def _disturb(proxy: Penstock, callers: Callers, number: signal.Signals | None, times: int) -> None:
    """While the callers call: `times` reloads (None), or deaths of the recorder by a signal."""
    for turn in range(1, times + 1):
        seen = callers.answered
        if number is None:
            proxy.reload()
            await asyncio.to_thread(
                until, proxy.output, lambda text, turn=turn: text.count("loaded anew") == turn, 60.0
            )
        else:
            (recorder,) = await asyncio.to_thread(
                until, lambda: proxy.child("proxy.recording"), lambda found: len(found) == 1, 60.0
            )
            recorder.send_signal(number)
        async with asyncio.timeout(60):
            while callers.answered < seen + 20:
                await asyncio.sleep(0.02)
    callers.stop()


@pytest.mark.parametrize("number", [None, signal.SIGKILL], ids=["reload", "recorder killed"])
async def test_no_call_fails_and_none_is_lost(tmp_path: Path, stage: Stage, number: signal.Signals | None) -> None:
    stage.play(json_reply(chat_reply()))
    options = {"upstreams": {"stage": f"{stage.url}/v1"}, "sections": {"server": {"workers": 2}}}
    with penstock(tmp_path, **options) as proxy:
        callers = Callers(proxy.base_url)
        async with asyncio.TaskGroup() as group:
            group.create_task(callers.run())
            group.create_task(_disturb(proxy, callers, number, times=2))
        rows = await asyncio.to_thread(proxy.wait_rows, "1", {}, callers.answered)
        assert len({row["request_id"] for row in rows}) == callers.answered
        assert {row["outcome"] for row in rows} == {"answered"}
