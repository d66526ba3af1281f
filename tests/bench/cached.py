"""The response cache: what a hit costs against a miss, what a miss costs more, and a thousand identical calls."""

from __future__ import annotations

import asyncio
import statistics
import urllib.request
from pathlib import Path

import aiohttp

from .calls import Cost, cost_of
from .figures import Figure
from .load import Wrk, request_body
from .machine import bench_upstream, cores
from .proxy import Measured, measured

ON = {"x-penstock-cache": "on"}
HIT_RATIO_MAX = 0.5
MISS_US_MAX = 15.0
DISK_P99_RATIO_MAX = 3.0
CONNECTIONS = 64
IDENTICAL = 1000
ROUNDS = 5


def cached(tmp: Path, seconds: float) -> list[Figure]:
    """64 connections, as in `unary`. Memory and disk are each measured without the other."""
    own_core, other_core = cores()
    plain = Wrk(tmp, other_core, questions=0)
    missing = Wrk(tmp, other_core, headers=ON, questions=0)
    hitting = Wrk(tmp, other_core, headers=ON, questions=100)
    with bench_upstream(tmp, other_core, chunks=50) as upstream:
        # Small enough to be full soon: what the first touch of fresh memory costs is the machine's.
        with measured(tmp, upstream, own_core, other_core, _tiers(memory=4 << 20)) as memory:
            costs = _rounds(memory, [plain, missing, hitting], seconds)
            without, misses, hits = (statistics.median(cost.cpu_us for cost in one) for one in costs)
            identical = _upstream_calls(memory, upstream)
            memory_p99 = statistics.median(cost.counted.p99_ms for cost in costs[2])
        with measured(tmp / "disk", upstream, own_core, other_core, _tiers(disk=256 << 20)) as disk:
            (from_disk,) = _rounds(disk, [hitting], seconds)
    disk_p99 = statistics.median(cost.counted.p99_ms for cost in from_disk)
    disk_us = statistics.median(cost.cpu_us for cost in from_disk)
    return [
        Figure("CPU per hit in memory", hits, "µs", misses, HIT_RATIO_MAX, note="(baseline: a miss)"),
        Figure("CPU that a miss in memory adds", misses - without, "µs", target=MISS_US_MAX, note="(to a call)"),
        Figure("CPU per hit on disk", disk_us, "µs", misses, note="(baseline: a miss)"),
        Figure("p99 of a hit on disk, 64 at a time", disk_p99, "ms", memory_p99, DISK_P99_RATIO_MAX, note="(memory)"),
        Figure(f"upstream calls of {IDENTICAL:,} identical ones at once", identical, "", target=1.0),
    ]


def _tiers(*, memory: int = 0, disk: int = 0) -> dict[str, dict[str, int]]:
    return {"cache": {"memory_bytes_max": memory, "disk_bytes_max": disk}}


def _rounds(penstock: Measured, loads: list[Wrk], seconds: float) -> list[list[Cost]]:
    found: list[list[Cost]] = [[] for _ in loads]
    for load in loads:
        load.run(penstock.port, CONNECTIONS, 1)
    for _ in range(ROUNDS):
        for load, costs in zip(loads, found, strict=True):
            penstock.settle()
            costs.append(cost_of(load, penstock.port, penstock.worker, CONNECTIONS, seconds))
    return found


def _upstream_calls(penstock: Measured, upstream: int) -> float:
    before = _served(upstream)
    asyncio.run(_ask_at_once(f"http://127.0.0.1:{penstock.port}/v1/chat/completions"))
    return _served(upstream) - before


async def _ask_at_once(url: str) -> None:
    body = request_body(stream=True).replace(b"How much", b"Exactly how much", 1)
    headers = {**ON, "content-type": "application/json", "authorization": "Bearer sk-bench"}

    async def one(session: aiohttp.ClientSession) -> None:
        async with session.post(url, data=body, headers=headers) as reply:
            assert reply.status == 200
            assert b"[DONE]" in await reply.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IDENTICAL)) as session:
        await asyncio.gather(*[one(session) for _ in range(IDENTICAL)])


def _served(upstream: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/served", timeout=10) as reply:
        return int(reply.read())
