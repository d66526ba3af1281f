"""The worker's memory over 200,000 unary calls."""

from __future__ import annotations

import statistics
import time
import urllib.request
from pathlib import Path

from .figures import Figure
from .load import Wrk
from .machine import bench_upstream, cores, rss_mb
from .proxy import Measured, measured

CALLS = 200_000
RSS_MB_MAX = 90.0
GROWTH_MB_MAX = 1.0
"""Over the second half. An allocator breathes; a leak of 10 bytes a call would show."""

Sample = tuple[int, float]


def memory(tmp: Path, seconds: float) -> list[Figure]:
    """64 connections until `CALLS` were served, or for `seconds` at most."""
    own_core, other_core = cores()
    with bench_upstream(tmp, other_core) as upstream, measured(tmp, upstream, own_core, other_core) as penstock:
        samples = _watch(Wrk(tmp, other_core), penstock, upstream, seconds)
    calls = samples[-1][0]
    half = [sample for sample in samples if sample[0] >= calls / 2]
    slope = statistics.linear_regression([count for count, _ in half], [rss for _, rss in half]).slope
    return [
        Figure(f"worker RSS after {calls // 2:,} calls", half[0][1], "MB"),
        Figure(f"worker RSS after {calls:,} calls", samples[-1][1], "MB", target=RSS_MB_MAX),
        Figure(
            "worker RSS grown in the second half",
            slope * calls / 2,
            "MB",
            target=GROWTH_MB_MAX,
            note=f"(slope {slope * 1e6:+.1f} bytes a call)",
        ),
    ]


def _watch(wrk: Wrk, penstock: Measured, upstream: int, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    load = wrk.start(penstock.port, 64, seconds)
    while not samples or (samples[-1][0] < CALLS and load.poll() is None):
        time.sleep(0.25)
        samples.append((_served(upstream), rss_mb(penstock.worker)))
    wrk.finish(load)
    return samples


def _served(upstream: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/served", timeout=30) as reply:
        return int(reply.read())
