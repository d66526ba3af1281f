"""The upstreams of the end-to-end tests that no real model can be: one that follows a script, and one for WebSockets.

Both live in a thread with a loop of its own, so that tests may be plain functions that block.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self

import uvloop
from aiohttp import WSMsgType, web

from tests.wire.scripted import Request, Script, ScriptedUpstream, json_reply

WAIT_S = 30.0
_UNSCRIPTED = json_reply({"error": {"message": "this test gave no script", "type": "server_error"}}, 500)


class Stage:
    """Give `script` what the next requests shall meet; read what arrived from `requests`."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)
        self._upstream = ScriptedUpstream(_UNSCRIPTED)
        self._realtime: web.AppRunner | None = None
        self.realtime_url = ""
        self.realtime_requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return self._upstream.url

    @property
    def requests(self) -> list[Request]:
        return self._upstream.requests

    def play(self, script: Script) -> None:
        """Forget what came so far, and meet what comes now with `script`."""
        self._upstream.requests.clear()
        self._upstream.errors.clear()
        self._upstream.script = script

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._upstream.__aenter__())
        self._run(self._start_realtime())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._realtime is not None
        self._run(self._realtime.cleanup())
        self._run(self._upstream.__aexit__(None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(WAIT_S)

    async def _start_realtime(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/realtime", self._serve_realtime)
        # A connection that a test left open is not waited for.
        self._realtime = web.AppRunner(app, shutdown_timeout=0.1)
        await self._realtime.setup()
        site = web.TCPSite(self._realtime, "127.0.0.1", 0)
        await site.start()
        host, port = self._realtime.addresses[0][:2]
        self.realtime_url = f"http://{host}:{port}/v1"

    async def _serve_realtime(self, request: web.Request) -> web.StreamResponse:
        """As the Realtime API: `session.created`, then a response of two deltas for every `response.create`."""
        self.realtime_requests.append({**request.query, "authorization": request.headers.get("authorization", "")})
        if request.query.get("model") == "refused":
            return web.json_response(
                {"error": {"message": "no such model", "type": "invalid_request_error"}}, status=404
            )
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        await socket.send_json({"type": "session.created", "event_id": "event_1", "session": {"type": "realtime"}})
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
            elif json.loads(message.data)["type"] == "response.create":
                for event in REALTIME_EVENTS:
                    await socket.send_json(event)
        return socket


REALTIME_EVENTS: list[dict[str, Any]] = [
    {"type": "response.output_text.delta", "event_id": "event_2", "delta": "Gate ", "response_id": "resp_rt"},
    {"type": "response.output_text.delta", "event_id": "event_3", "delta": "open.", "response_id": "resp_rt"},
    {
        "type": "response.done",
        "event_id": "event_4",
        "response": {
            "id": "resp_rt",
            "object": "realtime.response",
            "status": "completed",
            "usage": {
                "input_tokens": 11,
                "output_tokens": 7,
                "total_tokens": 18,
                "input_token_details": {"cached_tokens": 4, "text_tokens": 11, "audio_tokens": 0},
                "output_token_details": {"text_tokens": 7, "audio_tokens": 0},
            },
        },
    },
]


def chat_chunks(*texts: str, model: str = "gpt-4o-mini-2024-07-18", **usage: int) -> list[dict[str, Any]]:
    """The events of a chat stream, with a last one for usage when there is any."""
    common = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1763000000, "model": model}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
    events = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [*events, {**common, "choices": [], "usage": usage}] if usage else events


def chat_reply(text: str = "The gate is open.", **more: Any) -> dict[str, Any]:
    """A whole chat completion. `more` replaces parts of its message."""
    message = {"role": "assistant", "content": text, **more}
    reason = "tool_calls" if more.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1763000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
