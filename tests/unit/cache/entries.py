"""Entries and a clock for the tests of the cache."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
import time
from typing import Any

from cache.disk import Disk
from cache.entry import Entry


class Clock:
    """Unix nanoseconds that pass only when told to; they begin at the real time, which stores compare with."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def entry(number: int = 0, *, size: int = 300, ttl_s: float = 0, now_ns: int | None = None, **fields: Any) -> Entry:
    """`size` bytes of a body that is another for each number."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    given = {
        "request_id": f"req-{number}",
        "created_ns": now_ns,
        "expires_ns": now_ns + int(ttl_s * 1e9) if ttl_s else 0,
        "endpoint": "chat",
        "upstream": "openai",
        "provider": "openai",
        "model": "gpt-5",
        "headers": ((b"Content-Type", b"application/json"),),
        "body": random.Random(number).randbytes(size),
    }
    return Entry(**(given | fields))


async def let_go(disk: Disk) -> None:
    """Close it and wait for its threads: only when these have ended is nobody's hand on its files any more."""
    await disk.aclose()
    for thread in threading.enumerate():
        if thread.name.startswith(("cache-read", "cache-write")):
            await asyncio.to_thread(thread.join, 60)
