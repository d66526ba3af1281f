"""Kill -9 of the dispatcher at any moment: each item is answered, bought and recorded once; nothing is left behind.

PENSTOCK_BATCH_KILLS=500 PENSTOCK_CHAOS_SEED=7 python -m pytest tests/wire/test_dispatcher_kill.py -s
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from proxy.settings import Settings
from tests.batch_provider import Remote
from tests.postgres import postgresql

from .dispatched import Dispatched, dispatched, item, right, settings_for

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PENSTOCK_BATCH_KILLS", "50"))
SEED = int(os.environ.get("PENSTOCK_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
ITEMS = 500
STEPS = ("POST /v1/files", "POST /v1/batches", "GET /v1/batches/*", "GET /v1/files/*/content", "DELETE /v1/files/*")
"""What a batch goes through at the provider. Most kills aim at the moment after one, before its reply is known."""
AIMED_SHARE = 0.7
LATENCY_S = 0.03


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Remote]:
    """A process of its own, which no kill touches."""
    command = [sys.executable, "-m", "tests.batch_provider", "--dir", str(tmp_path / "provider")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            remote = Remote(process.stdout.readline().strip())
            remote.set(latency_s=LATENCY_S, validating_s=0.1, finalizing_s=0.1, lines_per_s=500)
            yield remote
        finally:
            process.kill()


class Mortal:
    """One dispatcher after the other."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        path = folder / "settings.json"
        path.write_bytes(msgspec.json.encode(settings))
        self._log = (folder / "dispatcher.log").open("wb")
        self._maker = subprocess.Popen(
            [sys.executable, "-m", "tests.wire.dispatcher_process", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self._pid = 0

    def start(self) -> None:
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        self._maker.stdin.write("\n")
        self._maker.stdin.flush()
        self._pid = int(self._maker.stdout.readline())

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self._maker.kill()
        self._maker.wait(60)
        for stream in (self._maker.stdin, self._maker.stdout, self._log):
            assert stream is not None
            stream.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgresql() as server:
        yield server.new()


@pytest.mark.timeout(120 + 10 * KILLS)
async def test_every_item_is_answered_bought_and_recorded_once(
    tmp_path: Path, provider: Remote, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(tmp_path, provider, url=url, window_s=0.2, window_items_max=50)
    chance = random.Random(SEED)
    mortal = Mortal(settings, tmp_path)
    began = time.monotonic()
    try:
        async with dispatched(settings, start=False) as here:
            killed = await _kill_and_kill(here, mortal, provider, chance)
            mortal.start()
            rows = await here.done(ITEMS)
            took_s = time.monotonic() - began
            with capsys.disabled():
                print(f"\nseed {SEED}: {dict(killed)} killed within {took_s:.0f} s")  # noqa: T201
            assert [row.id for row in rows if not right(row)] == [], "without their own right answer"
            await here.until(lambda: not provider.state()["running"], "the end of what was cancelled")
            _verify_provider(provider, {row.id for row in rows})
            records = await here.records()
    finally:
        mortal.end()
    calls = Counter(record.item_id for record in records if record.kind == "call")
    assert calls == Counter(f"item-{number}" for number in range(ITEMS))
    assert max(Counter(record.request_id for record in records).values()) == 1


async def _kill_and_kill(here: Dispatched, mortal: Mortal, provider: Remote, chance: random.Random) -> Counter[str]:
    """How often which moment was met. The items come in while it goes on."""
    killed: Counter[str] = Counter()
    sent = 0
    for number in range(KILLS):
        until = min(ITEMS, (number + 1) * ITEMS * 5 // (KILLS * 4) + 1)
        mortal.start()
        await here.add(*(item(one) for one in range(sent, until)))
        sent = until
        killed[await _a_moment(provider, chance)] += 1
        mortal.kill()
    return killed


async def _a_moment(provider: Remote, chance: random.Random) -> str:
    """Wait for the moment of the next kill."""
    if chance.random() > AIMED_SHARE:
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        return "any"
    step = chance.choice(STEPS)
    deadline = time.monotonic() + 2.0
    before = (await asyncio.to_thread(provider.state))["requests"].get(step, 0)
    while time.monotonic() < deadline:
        if (await asyncio.to_thread(provider.state))["requests"].get(step, 0) > before:
            await asyncio.sleep(chance.uniform(0.0, 1.5 * LATENCY_S))
            return step
    return "any"


def _verify_provider(provider: Remote, ids: set[str]) -> None:
    """Each line was run once, and nothing of ours is left there."""
    state = provider.state()
    assert {name: times for name, times in state["asked"].items() if times != 1} == {}, "bought more than once"
    assert set(state["asked"]) == ids
    assert [file["filename"] for file in state["files"]] == []
