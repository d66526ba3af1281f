"""What the stage reads of a reply about a batch, and what it leaves alone."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from proxy.batching.provider.noting import OwnBatch, read_batch
from proxy.batching.refusal import QueueUnavailable
from proxy.errors import UpstreamFault
from proxy.exchange import Exchange
from proxy.reply import Reply
from proxy.settings import Settings, Upstream
from proxy.stages.watch import REPLY_BYTES_MAX, Watch
from tests.unit.proxy.caching.exchanges import exchange

BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "input_file_id": "file-1",
    "status": "validating",
    "created_at": 1_795_000_000,
    "metadata": {"team": "blue"},
}
DATA = msgspec.json.encode(BATCH)
JSON = (b"Content-Type", b"application/json")
SETTINGS = Settings(
    upstreams=(
        Upstream(name="openai", base_url="https://api.openai.com/v1"),
        Upstream(name="vllm", base_url="http://127.0.0.1:1/v1", batch="local"),
    )
)


class Body:
    """Arrives in pieces; breaks at the end when told so."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces = list(pieces)
        self._breaks = breaks
        self.closed = False

    async def read(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._breaks:
            raise UpstreamFault("gone", code="reset")
        return b""

    async def aclose(self) -> None:
        self.closed = True


class Queue:
    """Counts what is to be written. It is down when told so."""

    def __init__(self, *, down: bool = False) -> None:
        self.works = 0
        self._down = down

    async def run(self, work: object) -> None:
        self.works += 1
        if self._down:
            raise QueueUnavailable("no disk")


async def watched(
    reply: Reply, queue: Queue, *, method: str = "POST", path: str = "/v1/batches", upstream: str = "openai"
) -> tuple[Reply, Watch]:
    made: Any = queue
    stage = Watch(SETTINGS, made)
    question = exchange(path=path)
    question.method = method

    async def inner(asked: Exchange) -> Reply:
        asked.upstream = upstream
        return reply

    return await stage(question, inner), stage


async def read_all(reply: Reply) -> bytes:
    body: Any = reply.body
    found = b""
    while piece := await body.read():
        found += piece
    return found


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/batches"), ("GET", "/v1/batches/batch_1"), ("POST", "/v1/batches/batch_1/cancel")],
)
async def test_a_reply_about_a_batch_is_noted_and_goes_on_as_it_came(method: str, path: str) -> None:
    body, queue = Body(DATA[:10], DATA[10:]), Queue()
    reply, _ = await watched(Reply(200, [JSON], body), queue, method=method, path=path)
    assert queue.works == 1
    assert await read_all(reply) == DATA
    assert body.closed


async def test_a_compressed_reply_stays_compressed_and_is_noted() -> None:
    packed, queue = gzip.compress(DATA), Queue()
    reply, _ = await watched(Reply(200, [JSON, (b"Content-Encoding", b"gzip")], Body(packed)), queue)
    assert queue.works == 1
    assert await read_all(reply) == packed


@pytest.mark.parametrize(
    ("method", "path", "upstream", "status", "kind"),
    [
        ("GET", "/v1/batches", "openai", 200, b"application/json"),
        ("DELETE", "/v1/batches/batch_1", "openai", 200, b"application/json"),
        ("POST", "/v1/batches", "openai", 400, b"application/json"),
        ("POST", "/v1/batches", "openai", 200, b"text/plain"),
        ("POST", "/v1/batches", "vllm", 200, b"application/json"),
        ("POST", "/v1/chat/completions", "openai", 200, b"application/json"),
    ],
)
async def test_nothing_else_is_even_read(method: str, path: str, upstream: str, status: int, kind: bytes) -> None:
    body, queue = Body(DATA), Queue()
    given = Reply(status, [(b"Content-Type", kind)], body)
    reply, _ = await watched(given, queue, method=method, path=path, upstream=upstream)
    assert reply.body is body
    assert queue.works == 0


async def test_a_reply_that_is_too_long_or_breaks_off_goes_on_so() -> None:
    queue, long = Queue(), b"x" * REPLY_BYTES_MAX
    reply, _ = await watched(Reply(200, [JSON], Body(long, b"y", b"z")), queue)
    assert await read_all(reply) == long + b"yz"
    broken, _ = await watched(Reply(200, [JSON], Body(DATA, breaks=True)), queue)
    body: Any = broken.body
    assert await body.read() == DATA
    with pytest.raises(UpstreamFault):
        await body.read()
    assert queue.works == 0


async def test_a_queue_that_is_down_is_counted_and_asked_again_the_next_time() -> None:
    queue = Queue(down=True)
    reply, stage = await watched(Reply(200, [JSON], DATA), queue)
    assert (reply.body, stage.missed, queue.works) == (DATA, 1, 1)

    async def inner(asked: Exchange) -> Reply:
        asked.upstream = "openai"
        return Reply(200, [JSON], DATA)

    await stage(exchange(path="/v1/batches"), inner)
    assert (stage.missed, queue.works) == (2, 2)


async def test_nobody_waits_for_a_queue_that_takes_its_time() -> None:
    class Slow:
        async def run(self, work: object) -> None:
            await asyncio.Event().wait()

    async def inner(asked: Exchange) -> Reply:
        asked.upstream = "openai"
        return Reply(200, [JSON], DATA)

    queue: Any = Slow()
    stage = Watch(SETTINGS, queue, patience_s=0.01)
    async with asyncio.timeout(60):
        reply = await stage(exchange(path="/v1/batches"), inner)
    assert (reply.body, stage.missed) == (DATA, 1)


async def test_what_was_noted_is_noted_again_only_when_it_is_over() -> None:
    queue = Queue()
    _, stage = await watched(Reply(200, [JSON], DATA), queue)
    over = msgspec.json.encode({**BATCH, "status": "completed"})

    for data, works in ((DATA, 1), (over, 2), (over, 2)):

        async def inner(asked: Exchange, data: bytes = data) -> Reply:
            asked.upstream = "openai"
            return Reply(200, [JSON], data)

        await stage(exchange(path="/v1/batches"), inner)
        assert queue.works == works


def test_what_is_no_batch_of_a_caller_is_none() -> None:
    assert isinstance(read_batch(DATA), OwnBatch)
    for other in (
        {**BATCH, "object": "file"},
        {**BATCH, "metadata": {"penstock_batch": "b"}},
        {**BATCH, "id": "a\0b"},
        {"id": "x"},
        [],
    ):
        assert read_batch(msgspec.json.encode(other)) is None
    assert read_batch(b"\xff") is None
