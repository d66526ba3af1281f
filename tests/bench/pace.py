"""Calls at a steady rate, whether or not the answers come: `python -m tests.bench.pace PORT RATE SECONDS`.

Prints one JSON line: how many were sent, answered and failed, and the latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field

import aiohttp
import uvloop

from .load import request_body

TIMEOUT_S = 30.0
_HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}


@dataclass
class Tally:
    sent: int = 0
    answered: int = 0
    failed: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    def report(self) -> str:
        latencies = sorted(self.latencies_ms) or [0.0]
        return json.dumps(
            {
                "sent": self.sent,
                "answered": self.answered,
                "failed": self.failed,
                "p50_ms": statistics.median(latencies),
                "p99_ms": latencies[int(len(latencies) * 0.99)],
            }
        )


async def pace(port: int, rate: float, seconds: float) -> Tally:
    tally = Tally()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    body = request_body(stream=False)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as calls:
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            while tally.sent < now * rate:
                tally.sent += 1
                calls.create_task(_call(session, url, body, tally))
            await asyncio.sleep(1 / rate)
    return tally


async def _call(session: aiohttp.ClientSession, url: str, body: bytes, tally: Tally) -> None:
    began = time.monotonic()
    try:
        async with session.post(url, data=body, headers=_HEADERS) as reply:
            await reply.read()
            answered = reply.status == 200
    except (aiohttp.ClientError, TimeoutError):
        answered = False
    if answered:
        tally.answered += 1
        tally.latencies_ms.append((time.monotonic() - began) * 1000)
    else:
        tally.failed += 1


if __name__ == "__main__":
    print(uvloop.run(pace(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))).report())
