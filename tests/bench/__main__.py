"""`python -m tests.bench [name ...] [--seconds S] [--json FILE]`: run the benches and print one table.

Exit status 1 when a target is missed. The names are those of `BENCHES`; without a name all of them run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import (
    batch,
    batch_yield,
    cached,
    calls,
    cull,
    dashboards,
    datasets,
    first_token,
    memory,
    outage,
    queued,
    recorder,
    sizing,
    training,
)
from .figures import Figure, show
from .machine import describe
from .nginx import need_tools

Bench = Callable[[Path, float], list[Figure]]

BENCHES: dict[str, tuple[Bench, float]] = {
    "unary": (calls.unary, 4.0),
    "streams": (calls.streams, 5.0),
    "ttft": (first_token.ttft, 20.0),
    "cached": (cached.cached, 4.0),
    "cull": (cull.cull, 8.0),
    "memory": (memory.memory, 300.0),
    "outage": (outage.outage, 60.0),
    "recorder": (recorder.recorder, 12.0),
    "queued": (queued.queued, 4.0),
    "batch": (batch.memory, 900.0),
    "yield": (batch_yield.yielding, 10.0),
    "sizing": (sizing.sizing, 0.0),
    "dashboards": (dashboards.dashboards_bench, dashboards.SECONDS),
    "datasets": (datasets.datasets, datasets.SECONDS),
    "training": (training.training, training.SECONDS),
}
"""Each bench with the seconds it takes by default: of one run, of the outage, or at most."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Penstock's speed table")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHES)} (all of them)")
    parser.add_argument("--seconds", type=float, help="how long each one measures, for a quick look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    need_tools()
    # A store that is starting, or stopped on purpose, is no news.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    machine = describe()
    figures: list[Figure] = []
    for name in arguments.names or BENCHES:
        bench, seconds = BENCHES[name]
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"penstock-bench-{name}-", ignore_cleanup_errors=True) as tmp:
            figures += bench(Path(tmp), arguments.seconds or seconds)
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    show(figures, machine)
    if arguments.json:
        rows = [dataclasses.asdict(figure) | {"ratio": figure.ratio, "ok": figure.ok} for figure in figures]
        arguments.json.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")
    sys.exit(any(figure.ok is False for figure in figures))


if __name__ == "__main__":
    main()
