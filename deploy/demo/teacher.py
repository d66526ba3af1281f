"""The teacher: an OpenAI-compatible server on loopback that answers chats from `conversations.answer`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from .conversations import answer

MODEL = "teacher-large"


@contextmanager
def teacher() -> Iterator[str]:
    """Its base URL, ending in /v1, while it runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ports: list[int] = []

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", _chat)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        started.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, name="teacher", daemon=True)
    thread.start()
    if not started.wait(30):
        raise RuntimeError("The teacher does not start.")
    try:
        yield f"http://127.0.0.1:{ports[0]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


async def _chat(request: web.Request) -> web.Response:
    asked: dict[str, Any] = await request.json()
    messages = asked["messages"]
    said = answer(messages[-1]["content"])
    read = sum(len(message["content"].split()) for message in messages)
    return web.json_response(
        {
            "id": f"chatcmpl-{time.time_ns():x}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked["model"],
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"},
            ],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": len(said.split()),
                "total_tokens": read + len(said.split()),
            },
        }
    )
