"""Kill -9 of Penstock or its dispatcher at any moment: each call that waits is answered, bought and recorded once.

PENSTOCK_BATCH_KILLS=50 PENSTOCK_CHAOS_SEED=7 python -m pytest tests/e2e/test_batch_chaos.py -s
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.batch_provider import Remote
from tests.batch_provider_replies import expected_text
from tests.postgres import Postgres, postgresql

from .serve import ROOT, Penstock, until

KILLS = int(os.environ.get("PENSTOCK_BATCH_KILLS", "6"))
SEED = int(os.environ.get("PENSTOCK_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
ITEMS = 200
ALL_SHARE = 0.5
"""Of the kills: the supervisor, with which everything else goes."""
WITHIN_S = 120.0
STEPS = ("POST /v1/files", "POST /v1/batches", "GET /v1/batches/*", "GET /v1/files/*/content", "DELETE /v1/files/*")
"""What a batch goes through at the provider. A kill aims at the moment after one, before its reply is known."""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Remote]:
    command = [sys.executable, "-m", "tests.batch_provider", "--dir", str(tmp_path / "provider")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            remote = Remote(process.stdout.readline().strip())
            remote.set(latency_s=0.02, validating_s=0.1, finalizing_s=0.1, lines_per_s=400)
            yield remote
        finally:
            process.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres | None]:
    if request.param == "sqlite":
        yield None
        return
    with postgresql() as server:
        yield server


@pytest.fixture
def proxy(tmp_path: Path, provider: Remote, postgres: Postgres | None) -> Iterator[Penstock]:
    batch: dict[str, Any] = {"window_s": 0.3, "window_items_max": 50, "poll_s": 0.2, "poll_max_s": 0.5}
    environ = {"PROVIDER_KEY": "sk-of-the-upstream"}
    if postgres is not None:
        environ["QUEUE"] = postgres.new()
        batch["url"] = "env:QUEUE"
    upstreams = {"openai": {"base_url": provider.base_url, "api_key": "env:PROVIDER_KEY", "provider": "openai"}}
    sections = {"server": {"shutdown_timeout_s": 3.0}, "batch": batch}
    made = Penstock(tmp_path, upstreams=upstreams, sections=sections, environ=environ)
    try:
        made.start()
        sections["server"]["port"] = made.port
        made.write_config(upstreams, sections=sections)
        yield made
    finally:
        made.disconnect()
        if made.process is not None:
            made.stop()


def body_of(number: int) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"question {number}"}]}


class Callers:
    """They put their calls into the queue, at a steady rate until all are in; a call without a reply is made again."""

    def __init__(self, proxy: Penstock, every_s: float) -> None:
        self._proxy = proxy
        self._every_s = every_s
        self.accepted: dict[int, str] = {}
        """By its number, where the call's reply will be."""
        self._thread = threading.Thread(target=self._call, name="callers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), f"{len(self.accepted)} calls of {ITEMS} are in the queue"

    def _call(self) -> None:
        with httpx.Client(timeout=30.0) as client:
            for number in range(ITEMS):
                while not self._accepted(client, number):
                    time.sleep(0.1)
                time.sleep(self._every_s)

    def _accepted(self, client: httpx.Client, number: int) -> bool:
        headers = {"x-penstock-batch": "async", "Idempotency-Key": f"call-{number}"}
        with contextlib.suppress(httpx.TransportError):
            reply = client.post(f"{self._proxy.base_url}/chat/completions", json=body_of(number), headers=headers)
            if reply.status_code == 202:
                self.accepted[number] = reply.headers["location"]
                return True
        return False


def wait_for(step: str, provider: Remote, within_s: float) -> None:
    """Return when the provider has done one more `step`."""
    deadline = time.monotonic() + within_s
    before = provider.state()["requests"].get(step, 0)
    while provider.state()["requests"].get(step, 0) == before and time.monotonic() < deadline:
        time.sleep(0.002)


def kill_at_random(proxy: Penstock, provider: Remote, chance: random.Random) -> str:
    """What was killed."""
    found = until(lambda: proxy.child("proxy.dispatching"), bool, 60.0)
    assert found, f"there is no dispatcher any more:\n{proxy.output()[-3000:]}"
    step = ""
    if chance.random() < 0.6:
        step = chance.choice(STEPS)
        wait_for(step, provider, 1.0)
        time.sleep(chance.uniform(0.0, 0.04))
    else:
        time.sleep(chance.uniform(0.0, 1.5))
    if chance.random() < ALL_SHARE:
        proxy.kill()
        proxy.start()
        return "all"
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return step or "dispatcher"


@pytest.mark.timeout(600 + 20 * KILLS)
def test_every_call_is_answered_once_and_bought_once_however_often_penstock_is_killed(
    proxy: Penstock, provider: Remote, postgres: Postgres | None, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    callers = Callers(proxy, every_s=0.04)
    callers.start()
    killed: Counter[str] = Counter()
    for _ in range(KILLS):
        killed[kill_at_random(proxy, provider, chance)] += 1
    callers.join()
    answers = fetch_all(proxy, callers.accepted)
    with capsys.disabled():
        print(f"\nseed {SEED}: {dict(killed)} killed in {time.monotonic() - began:.0f} s")  # noqa: T201
    wrong = [number for number in range(ITEMS) if answers.get(number) != expected_text(body_of(number))]
    assert wrong == [], f"{len(wrong)} calls without their own right answer"
    verify_provider(provider, callers)
    verify_records(proxy)


def fetch_all(proxy: Penstock, accepted: dict[int, str]) -> dict[int, str]:
    """The text of every reply, by the number of its call."""
    answers: dict[int, str] = {}
    deadline = time.monotonic() + WITHIN_S
    with httpx.Client(timeout=30.0) as client:
        while len(answers) < len(accepted) and time.monotonic() < deadline:
            for number, path in accepted.items():
                if number not in answers:
                    reply = client.get(f"{proxy.url}{path}")
                    if reply.status_code == 202:
                        time.sleep(0.2)
                        break
                    answers[number] = reply.json()["choices"][0]["message"]["content"]
    return answers


def verify_provider(provider: Remote, callers: Callers) -> None:
    """Each line was run once, and nothing of ours is left there."""

    def clean() -> bool:
        state = provider.state()
        return not state["files"] and not state["running"]

    assert until(clean, bool, WITHIN_S), f"left at the provider: {provider.state()['files']}"
    asked = provider.state()["asked"]
    ids = {path.rpartition("/")[2] for path in callers.accepted.values()}
    assert {name: times for name, times in asked.items() if times != 1} == {}, "bought more than once"
    assert set(asked) == ids


def verify_records(proxy: Penstock) -> None:
    """A generation for each call, and the spans of the exchanges and the batches beside them."""
    rows = proxy.wait_rows("batch_id != ''", {}, count=ITEMS, within_s=WITHIN_S)
    assert len({row["request_id"] for row in rows}) == ITEMS
    time.sleep(1.0)
    assert len(proxy.rows("batch_id != ''")) == ITEMS
