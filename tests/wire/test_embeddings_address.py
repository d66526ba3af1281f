"""An embeddings address that answers, lies, stalls or is down: each fault is a miss, and the address is left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from cache.embedding import CONCURRENT_MAX, REPLY_BYTES_MAX, EmbeddingFailed, EmbeddingSkipped, RemoteEmbedder
from cache.faults import Pause
from cache.semantic import open_index

PATIENCE_S = 60.0


class Address:
    """Answers `reply`, or does what `instead` says."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.reply: Any = {"data": [{"index": 0, "embedding": [3, 4]}]}
        self.asked: list[dict[str, Any]] = []
        self.authorization: list[str | None] = []
        self.held: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(json.loads(await request.read()))
        self.authorization.append(request.headers.get("authorization"))
        if self.held is not None:
            await self.held.wait()
        body = self.reply if isinstance(self.reply, bytes) else json.dumps(self.reply).encode()
        return web.Response(status=self.status, body=body)


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    address = Address()
    app = web.Application()
    app.router.add_post("/v1/embeddings", address.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/embeddings"
    yield address
    if address.held is not None:
        address.held.set()
    await runner.cleanup()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_it_is_asked_as_openai_would_be_and_its_vectors_get_length_1(address: Address) -> None:
    embedder = RemoteEmbedder(address.url, "small", "sk-test", timeout_s=PATIENCE_S)
    address.reply = {"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4]}], "model": "small"}
    one, other = await embedder.embed(["a", "b"])
    np.testing.assert_allclose(one, [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(other, [0, 1])
    assert one.dtype == np.float32
    assert address.asked == [{"model": "small", "input": ["a", "b"], "encoding_format": "float"}]
    assert address.authorization == ["Bearer sk-test"]
    await embedder.aclose()


async def test_the_index_works_with_it(address: Address) -> None:
    index = open_index(None, url=address.url, model="small")
    assert isinstance(index._embedder, RemoteEmbedder)
    index._embedder._timeout_s = index._embedder._client.timeout = PATIENCE_S  # type: ignore[assignment]
    await index.add("p", "text", "k1")
    assert [key for key, _ in await index.find("p", "other text", 0.9)] == ["k1"]
    assert address.authorization == [None, None]
    await index.aclose()


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (500, {}),
        (401, {"error": {"message": "no"}}),
        (302, {}),
        (200, b"not json"),
        (200, b""),
        (200, []),
        (200, {"data": []}),
        (200, {"data": [{"embedding": [1]}, {"embedding": [1]}]}),
        (200, {"data": [{"embedding": "AAAA"}]}),
        (200, {"data": [{"embedding": [0, 0]}]}),
        (200, {"data": [{"embedding": []}]}),
        (200, b'{"data":[{"embedding":[' + b"1," * REPLY_BYTES_MAX + b"1]}]}"),
    ],
)
async def test_what_is_no_vector_is_a_failure(address: Address, status: int, reply: Any) -> None:
    address.status, address.reply = status, reply
    embedder = RemoteEmbedder(address.url, "small", timeout_s=PATIENCE_S)
    with pytest.raises(EmbeddingFailed) as failed:
        await embedder.embed(["secret"])
    assert not isinstance(failed.value, EmbeddingSkipped)
    assert "secret" not in str(failed.value)
    await embedder.aclose()


async def test_a_reply_without_end_is_not_read(address: Address) -> None:
    address.reply = b'{"data":[{"embedding":[1]}]}' + b" " * REPLY_BYTES_MAX
    embedder = RemoteEmbedder(address.url, "small", timeout_s=PATIENCE_S)
    with pytest.raises(EmbeddingFailed, match="too much"):
        await embedder.embed(["a"])
    await embedder.aclose()


async def test_while_it_fails_it_is_left_alone_and_then_tried_again(address: Address) -> None:
    clock = Clock()
    embedder = RemoteEmbedder(address.url, "small", timeout_s=PATIENCE_S, pause=Pause(clock))
    address.status = 500
    with pytest.raises(EmbeddingFailed):
        await embedder.embed(["a"])
    address.status = 200
    for _ in range(5):
        with pytest.raises(EmbeddingSkipped):
            await embedder.embed(["a"])
    assert len(address.asked) == 1
    clock.now += 1
    assert len(await embedder.embed(["a"])) == 1
    await embedder.aclose()


async def test_one_that_is_not_there_or_does_not_answer_is_a_failure(address: Address) -> None:
    pause = partial(Pause, Clock())  # which does not end while nobody looks
    nowhere = RemoteEmbedder("http://127.0.0.1:1/v1/embeddings", "small", timeout_s=PATIENCE_S, pause=pause())
    with pytest.raises(EmbeddingFailed):
        await nowhere.embed(["a"])
    address.held = asyncio.Event()
    stalled = RemoteEmbedder(address.url, "small", timeout_s=0.05, pause=pause())
    with pytest.raises(EmbeddingFailed):
        await stalled.embed(["a"])
    for embedder in (nowhere, stalled):
        with pytest.raises(EmbeddingSkipped, match="has just failed"):
            await embedder.embed(["a"])
        await embedder.aclose()
        with pytest.raises(EmbeddingSkipped):
            await embedder.embed(["a"])


async def test_an_address_that_is_none_is_a_failure() -> None:
    embedder = RemoteEmbedder("embeddings.example", "small")
    with pytest.raises(EmbeddingFailed):
        await embedder.embed(["a"])
    await embedder.aclose()


async def test_only_so_many_wait_for_it(address: Address) -> None:
    address.held = asyncio.Event()
    embedder = RemoteEmbedder(address.url, "small", timeout_s=PATIENCE_S)
    waiting = [asyncio.create_task(embedder.embed(["a"])) for _ in range(CONCURRENT_MAX)]
    while len(address.asked) < CONCURRENT_MAX:
        await asyncio.sleep(0.001)
    with pytest.raises(EmbeddingSkipped):
        await embedder.embed(["a"])
    address.held.set()
    assert len(await asyncio.gather(*waiting)) == CONCURRENT_MAX
    assert len(await embedder.embed(["a"])) == 1
    await embedder.aclose()
