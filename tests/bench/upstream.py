"""The upstream of the benches: the least work that still is an OpenAI-compatible server.

    python -m tests.bench.upstream [--chunks 50] [--interval-ms 5]

Prints its port on the first line. Answers any POST: a stream when the body asks for one, else a reply of 1.2 KB.
GET /served says how many replies were begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from functools import partial
from typing import cast

import uvloop

_TEXT = "the gate meters what the river brings and the turbine takes what the gate lets through every day "
REPLY_BYTES = 1200


def unary_reply() -> bytes:
    """A chat completion of `REPLY_BYTES`, head included in what is returned, not in the count."""
    document = {
        "id": "chatcmpl-Bxq7Lk2mPf9sTz4wVnRc8dHy1oGe",
        "object": "chat.completion",
        "created": 1763000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 402,
            "completion_tokens": 120,
            "total_tokens": 522,
            "prompt_tokens_details": {"cached_tokens": 256, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_51db84afab",
    }
    missing = REPLY_BYTES - len(json.dumps(document))
    document["choices"][0]["message"]["content"] = (_TEXT * 12)[:missing]  # type: ignore[index]
    body = json.dumps(document).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nopenai-processing-ms: 412\r\n"
        f"openai-version: 2020-10-01\r\nx-request-id: req_5f2a8c7be01d4c0f\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def stream_events(chunks: int) -> list[bytes]:
    """The events of one chat stream, each in an HTTP chunk of its own: `chunks` deltas, usage, the end."""
    common = {
        "id": "chatcmpl-Bxq7Lk2mPf9sTz4wVnRc8dHy1oGe",
        "object": "chat.completion.chunk",
        "created": 1763000000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_51db84afab",
    }
    words = _TEXT.split()
    deltas = [f" {words[index % len(words)]}" for index in range(chunks)]
    events = [
        {**common, "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}]}
        for text in deltas
    ]
    usage = {"prompt_tokens": 402, "completion_tokens": chunks, "total_tokens": 402 + chunks}
    texts = [json.dumps(event) for event in [*events, {**common, "choices": [], "usage": usage}]]
    return [_http_chunk(f"data: {text}\n\n".encode()) for text in [*texts, "[DONE]"]]


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nopenai-processing-ms: 412\r\n"
    b"x-request-id: req_5f2a8c7be01d4c0f\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Served:
    count = 0


class BenchProtocol(asyncio.Protocol):
    """One connection; requests come one at a time (no pipelining)."""

    def __init__(self, served: Served, unary: bytes, events: list[bytes], interval_s: float) -> None:
        self._served = served
        self._unary = unary
        self._events = events
        self._interval_s = interval_s
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /served"):
            text = b"%d" % self._served.count
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            return
        self._served.count += 1
        if b'"stream":true' in body or b'"stream": true' in body:
            self._transport.write(_SSE_HEAD + self._events[0])
            self._later(1)
        else:
            self._transport.write(self._unary)

    def _later(self, index: int) -> None:
        self._timer = self._loop.call_later(self._interval_s, self._next, index)

    def _next(self, index: int) -> None:
        # Usage and [DONE] come together with the last delta's successor, as from the real API.
        if index < len(self._events) - 2:
            self._transport.write(self._events[index])
            self._later(index + 1)
        else:
            self._transport.write(b"".join(self._events[index:]) + b"0\r\n\r\n")


async def serve(chunks: int, interval_s: float) -> None:
    served = Served()
    make = partial(BenchProtocol, served, unary_reply(), stream_events(chunks), interval_s)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--interval-ms", type=float, default=5.0)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.chunks, arguments.interval_ms / 1000))


if __name__ == "__main__":
    main()
