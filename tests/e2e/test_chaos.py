"""Kill -9 of any process at any moment: no exchange whose end a caller saw is lost, and none is there twice.

PENSTOCK_CHAOS_KILLS=500 PENSTOCK_CHAOS_SEED=7 python -m pytest tests/e2e/test_chaos.py -s
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.bench.load import request_body

from .serve import ROOT, Penstock, until

KILLS = int(os.environ.get("PENSTOCK_CHAOS_KILLS", "30"))
SEED = int(os.environ.get("PENSTOCK_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
CALLS_PER_S = 60.0
STREAM_SHARE = 0.3
PARTS = {
    "worker": "proxy.worker",
    "recorder": "proxy.recording",
    "store": "exporters.clickhouse.embedded",
    "supervisor": "",
}
AIMED_SHARE = 0.7
"""Of the kills of recorder and store: while a batch is being inserted, which is a small part of the time."""
INSERT_S = 0.08
WITHIN_S = 180.0
SNAPSHOT_S = 5
"""A sample is of what the ledger was a second or two before."""
WAITING = """
SELECT sum(value) AS waiting FROM health
WHERE metric IN ('penstock_records_open', 'penstock_records_spooled') AND labels['sink'] IN ('', 'clickhouse')
    AND timestamp > {since:Int64}
GROUP BY timestamp HAVING count() = 2 ORDER BY timestamp DESC LIMIT 1
"""


@dataclass
class Load:
    """Steady calls, each with an id of its own as a tag, and how each one ended for its caller."""

    proxy: Penstock
    chance: random.Random
    ended: dict[str, str] = field(default_factory=dict)
    """Call id to request id, of calls whose whole reply was seen."""
    broken: dict[str, str] = field(default_factory=dict)
    """Call id to what the caller met."""
    ends: Counter[str] = field(default_factory=Counter)
    _stop: bool = False

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as calls:
            number = 0
            while not self._stop:
                number += 1
                calls.create_task(self._call(session, f"call-{number}", self.chance.random() < STREAM_SHARE))
                await asyncio.sleep(self.chance.expovariate(CALLS_PER_S))

    def stop(self) -> None:
        self._stop = True

    async def _call(self, session: aiohttp.ClientSession, call_id: str, stream: bool) -> None:
        headers = {"Content-Type": "application/json", "x-penstock-tags": f"call={call_id}"}
        try:
            async with session.post(
                f"{self.proxy.base_url}/chat/completions", data=request_body(stream=stream), headers=headers
            ) as reply:
                body = await reply.read()
                whole = reply.status == 200 and (not stream or body.endswith(b"data: [DONE]\n\n"))
                request_id = reply.headers["x-penstock-request-id"]
                met = f"status {reply.status}" if reply.status != 200 else "a stream without its end"
        except (aiohttp.ClientError, TimeoutError) as error:
            whole, request_id, met = False, "", type(error).__name__
        if whole:
            self.ended[call_id] = request_id
        else:
            self.broken[call_id] = met
        self.ends["stream" if stream and whole else "unary" if whole else met] += 1


@contextlib.asynccontextmanager
async def loaded(proxy: Penstock, chance: random.Random) -> AsyncIterator[Load]:
    load = Load(proxy, chance)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await running


@pytest.fixture
def upstream() -> Iterator[str]:
    """The upstream of the benches: streams of 20 chunks, 5 ms apart."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.upstream", "--chunks", "20"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


@pytest.fixture
def chaotic(upstream: str, tmp_path: Path) -> Iterator[Penstock]:
    """Two workers, small segments (so that kills meet rotations), and children that are quick to end."""
    sections = {
        "server": {"workers": 2, "shutdown_timeout_s": 3.0},
        "spool": {"segment_bytes_max": 200_000, "segment_age_max_s": 3.0},
    }
    proxy = Penstock(tmp_path, upstreams={"bench": {"base_url": upstream, "provider": "openai"}}, sections=sections)
    try:
        proxy.start()
        # The same port after a restart: callers keep the address they were given.
        sections["server"]["port"] = proxy.port
        proxy.write_config({"bench": {"base_url": upstream, "provider": "openai"}}, sections=sections)
        yield proxy
    finally:
        proxy.disconnect()
        if proxy.process is not None:
            proxy.stop()


def wait_for_insert(proxy: Penstock, delay_s: float) -> None:
    """Return `delay_s` after a batch is on its way to the store: the moment that could lose or double it."""
    checkpoint = proxy.data_dir / "checkpoints" / "sink-clickhouse.json"
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if b'"intent":{' in checkpoint.read_bytes():
                break
        time.sleep(0.0005)
    time.sleep(delay_s)


async def kill(proxy: Penstock, part: str, chance: random.Random) -> None:
    """SIGKILL one living process of that part; a supervisor is started again, the others start by themselves."""
    if part == "supervisor":
        await asyncio.to_thread(proxy.kill)
        await asyncio.to_thread(proxy.start)
        return
    found = await asyncio.to_thread(until, lambda: proxy.child(PARTS[part]), bool, 60.0)
    assert found, f"there is no {part} any more:\n{proxy.output()[-3000:]}"
    if part in ("recorder", "store") and chance.random() < AIMED_SHARE:
        await asyncio.to_thread(wait_for_insert, proxy, chance.uniform(0.0, INSERT_S))
    with contextlib.suppress(psutil.NoSuchProcess):
        chance.choice(found).kill()


@pytest.mark.timeout(600 + 20 * KILLS)
async def test_no_call_is_lost_or_doubled_however_often_a_process_is_killed(
    chaotic: Penstock, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    killed: Counter[str] = Counter()
    async with loaded(chaotic, random.Random(SEED + 1)) as load:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            part = chance.choice(list(PARTS))
            await kill(chaotic, part, chance)
            killed[part] += 1
        await asyncio.sleep(2.0)
    with capsys.disabled():
        print(f"\nchaos: seed {SEED}, killed {dict(killed)}, calls {dict(load.ends)}")  # noqa: T201
    assert len(load.ended) > KILLS * 10, "hardly a call came through; this says nothing"
    await asyncio.to_thread(verify, chaotic, load)


def verify(proxy: Penstock, load: Load) -> None:
    count = wait_settled(proxy)
    asked = "SELECT tags['call'] AS call, request_id, outcome, status FROM generations"
    rows = until(lambda: proxy.query(asked), bool, WITHIN_S)
    assert len(rows) == count
    twice = [name for name, times in Counter(row["request_id"] for row in rows).items() if times > 1]
    assert twice == [], "recorded more than once"
    of_call = {row["call"]: row for row in rows}
    assert len(of_call) == len(rows), "a call is recorded under two request ids"

    lost = [call for call in load.ended if call not in of_call]
    assert lost == [], f"{len(lost)} calls whose end was seen are not recorded"
    wrong = [of_call[call] for call, request_id in load.ended.items() if of_call[call]["request_id"] != request_id]
    assert wrong == []
    outcomes = Counter(of_call[call]["outcome"] for call in load.ended)
    assert set(outcomes) == {"answered"}, outcomes
    # A call may be sealed as answered and its worker killed before the last bytes were on their way.
    others = Counter(of_call[call]["outcome"] for call in load.broken if call in of_call)
    assert set(others) <= {"interrupted", "abandoned", "failed", "cut", "rejected", "answered"}, others
    verify_views(proxy, count)


def verify_views(proxy: Penstock, count: int) -> None:
    """Every table that a view fills has each exchange once, too."""
    by_minute = "SELECT sum(requests) AS n FROM generations_by_minute"
    (rollup,) = until(lambda: proxy.query(by_minute), bool, WITHIN_S)
    assert rollup["n"] == count
    of_exchanges = "WHERE mapContains(SpanAttributes, 'penstock.request.id')"
    asked = f"SELECT count() AS n, uniqExact(SpanId) AS ids FROM otel_traces {of_exchanges}"
    (spans,) = until(lambda: proxy.query(asked), bool, WITHIN_S)
    assert (spans["n"], spans["ids"]) == (count, count)


def wait_settled(proxy: Penstock) -> int:
    """The number of rows once the recorder's own samples say, of a time after the last call, that none is open or waits
    for the store."""
    asked = {"since": int(time.time()) + SNAPSHOT_S}
    seen = until(lambda: proxy.query(WAITING, asked), lambda rows: bool(rows) and rows[0]["waiting"] == 0, WITHIN_S)
    assert seen, f"there is no sample of the recorder\n{proxy.output()[-3000:]}"
    assert seen[0]["waiting"] == 0, f"records still wait after {WITHIN_S:g} s\n{proxy.output()[-3000:]}"
    found = until(lambda: proxy.query("SELECT count() AS n FROM generations"), bool, WITHIN_S)
    return int(found[0]["n"])
