"""The dispatcher as a process: what the supervisor starts, and what it costs while nobody needs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cache.tiers import open_tiers
from proxy.batching.item import Context, Keep, encode_context
from proxy.programs import Programs
from proxy.settings import Settings
from tests.batch_provider import BatchProvider

from .dispatched import dispatched, item, right, settings_for

WAIT_S = 60.0


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[BatchProvider]:
    with BatchProvider(tmp_path / "provider") as made:
        yield made


@contextmanager
def process(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that has said that it is ready, and may be told to end."""
    launch = Programs().launch_dispatcher(settings)
    assert launch.first_line is not None
    ready, to_say = os.pipe()
    with (
        log.open("wb") as out,
        open(ready, "rb") as said,
        subprocess.Popen(launch.argv, stdin=subprocess.PIPE, stderr=out, pass_fds=(to_say,)) as made,
    ):
        os.close(to_say)
        assert made.stdin is not None
        try:
            made.stdin.write(launch.first_line(to_say))
            made.stdin.flush()
            assert said.read() == b"ready\n"
            yield made
        finally:
            if made.poll() is None:
                made.kill()


async def test_it_loads_nothing_before_there_is_a_queue_and_then_serves_it(
    tmp_path: Path, provider: BatchProvider
) -> None:
    settings = settings_for(tmp_path, provider)
    with process(settings, tmp_path / "log") as made:
        seen = psutil.Process(made.pid)
        assert seen.nice() == 10
        await asyncio.sleep(0.5)
        assert not any("sqlite3" in one.path for one in seen.memory_maps())
        assert not (tmp_path / "data" / "batch").exists()
        async with dispatched(settings, start=False) as here:
            await here.add(item(1))
            (row,) = await here.done(1)
            assert right(row)
            made.terminate()
            assert await asyncio.to_thread(made.wait, WAIT_S) == 0
            with here.database.reading() as connection:
                assert connection.exec_driver_sql("SELECT expires_ns FROM leases").scalar() == 0
    assert "warning" not in (tmp_path / "log").read_text()


async def test_it_ends_at_once_when_there_is_no_queue(tmp_path: Path, provider: BatchProvider) -> None:
    with process(settings_for(tmp_path, provider), tmp_path / "log") as made:
        made.terminate()
        assert await asyncio.to_thread(made.wait, WAIT_S) == 0


async def test_a_reply_goes_where_the_cache_finds_it(tmp_path: Path, provider: BatchProvider) -> None:
    settings = settings_for(tmp_path, provider)
    keep = Keep(key="a" * 64, namespace="ns", ttl_s=60.0)
    context = Context(request_id="req-1", trace_id="1" * 32, span_id="1" * 16, start_ns=1, keep=keep)
    kept_not = Context(request_id="req-2", trace_id="2" * 32, span_id="2" * 16, start_ns=1, keep=Keep("b" * 64, "", 0))
    async with dispatched(settings) as here:
        await here.add(
            item(1, context=encode_context(context)),
            item(2, "fail with 422", context=encode_context(kept_not)),
        )
        row, _ = await here.done(2)
        await here.stop()
        tiers = open_tiers(directory=tmp_path / "data" / "cache", disk_bytes_max=1_000_000)
        entry = await tiers.get("a" * 64)
        assert await tiers.get("b" * 64) is None
        await tiers.aclose()
    assert entry is not None
    assert entry.body == row.reply
    assert (entry.request_id, entry.namespace, entry.stream, entry.model) == ("req-1", "ns", False, "gpt-4o-mini")
    assert entry.expires_ns > 0
