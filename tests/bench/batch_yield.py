"""What callers notice of a local batch that runs beside them: `python -m tests.bench.batch_yield`.

The upstream has as many slots as `batch.local_concurrency` says, and callers come at random, not in turn. They meet the
upstream alone, then with a batch of 1,000 lines under way; the same calls at the same moments, over and over.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import openai

from tests.e2e.serve import Penstock

from .figures import Figure, show
from .load import request_body
from .machine import cores, describe, started

P99_RATIO_MAX = 1.3
SLOTS = 8
SERVICE_MS = 50.0
LINES = 1000
CALLS_PER_S = 40.0
"""A quarter of what the upstream can do."""
ROUNDS = 3


def yielding(tmp: Path, seconds: float) -> list[Figure]:
    """Live calls' p99 with a local batch under way, against theirs without one."""
    own_core, other_core = cores()
    command = [sys.executable, "-m", "tests.bench.slots", "--slots", str(SLOTS), "--service-ms", str(SERVICE_MS)]
    with started(command, other_core, log=tmp / "slots.log") as upstream:
        assert upstream.stdout is not None
        url = f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"
        penstock = Penstock(
            tmp / "penstock",
            upstreams={"local": {"base_url": url, "batch": "local"}},
            sections={"batch": {"local_concurrency": SLOTS}},
            prefix=("taskset", "-c", str(own_core)),
        )
        try:
            penstock.start()
            return asyncio.run(_measure(penstock.base_url, seconds))
        finally:
            penstock.disconnect()
            if penstock.process is not None:
                penstock.stop()


async def _measure(base_url: str, seconds: float) -> list[Figure]:
    client = openai.AsyncOpenAI(base_url=base_url, api_key="sk-bench", max_retries=0)
    alone: list[float] = []
    beside: list[float] = []
    done: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _call(session, base_url, 1.0, "warm")
        for round_ in range(ROUNDS):
            alone += await _call(session, base_url, seconds, f"alone {round_}")
            batch_id = await _begin(client, round_)
            beside += await _call(session, base_url, seconds, f"beside {round_}")
            batch = await client.batches.retrieve(batch_id)
            assert batch.request_counts is not None
            done.append(batch.request_counts.completed / seconds)
            if batch.status not in ("in_progress", "finalizing"):
                raise SystemExit(f"the batch was {batch.status} before the callers were: take fewer seconds")
            await _end(client, batch_id)
    free = await _free_rate(client)
    await client.close()
    return [
        Figure("live p99 beside a batch", _p99(beside), "ms", _p99(alone), P99_RATIO_MAX, note="(baseline: alone)"),
        Figure("live p50 beside a batch", _p50(beside), "ms", _p50(alone)),
        Figure("lines beside callers", statistics.median(done), "/s", free, note="(baseline: nobody calls)"),
    ]


async def _call(session: aiohttp.ClientSession, base_url: str, seconds: float, name: str) -> list[float]:
    """Calls at random moments, the same in every round; how long each took, in milliseconds."""
    dice = random.Random(4711)
    tasks: list[asyncio.Task[float]] = []
    began, at = time.monotonic(), 0.0
    while (at := at + dice.expovariate(CALLS_PER_S)) < seconds:
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        tasks.append(asyncio.ensure_future(_one(session, base_url, f"{name} {at}")))
    return await asyncio.gather(*tasks)


async def _one(session: aiohttp.ClientSession, base_url: str, question: str) -> float:
    began = time.perf_counter()
    async with session.post(f"{base_url}/chat/completions", json=_question(question)) as response:
        await response.read()
        if response.status != 200:
            raise SystemExit(f"a call was answered with {response.status}")
    return (time.perf_counter() - began) * 1000


def _question(text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(request_body(stream=False))
    del document["stream"]
    return document | {"user": text}


async def _begin(client: openai.AsyncOpenAI, round_: int, lines: int = LINES) -> str:
    """A batch that is being worked on."""
    rows = [
        {"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": _question(f"{round_} {n}")}
        for n in range(lines)
    ]
    data = "\n".join(map(json.dumps, rows)).encode()
    file = await client.files.create(file=("lines.jsonl", io.BytesIO(data)), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    async with asyncio.timeout(60):
        while not (batch.request_counts and batch.request_counts.completed):
            await asyncio.sleep(0.05)
            batch = await client.batches.retrieve(batch.id)
    return batch.id


async def _end(client: openai.AsyncOpenAI, batch_id: str) -> None:
    await client.batches.cancel(batch_id)
    async with asyncio.timeout(60):
        while (await client.batches.retrieve(batch_id)).status != "cancelled":
            await asyncio.sleep(0.2)


async def _free_rate(client: openai.AsyncOpenAI) -> float:
    """Lines a second while nobody else asks."""
    batch_id = await _begin(client, ROUNDS)
    began, before = time.monotonic(), await client.batches.retrieve(batch_id)
    await asyncio.sleep(4)
    after = await client.batches.retrieve(batch_id)
    assert before.request_counts is not None
    assert after.request_counts is not None
    return (after.request_counts.completed - before.request_counts.completed) / (time.monotonic() - began)


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _p50(values: list[float]) -> float:
    return statistics.median(values)


def main() -> None:
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-yield-", ignore_cleanup_errors=True) as tmp:
        show(yielding(Path(tmp), float(sys.argv[1]) if len(sys.argv) > 1 else 10.0), machine)


if __name__ == "__main__":
    main()
