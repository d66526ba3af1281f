"""Records leave the queue for the spool in chunks, each once, whatever was left by whom; `kill -9` at every point."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, func, insert, select, update

from exporters import layout
from exporters.record import encode
from proxy.batching.database import Database, queue_url
from proxy.batching.lease import HeldLease, Lease, LeaseHolder, LeaseLost
from proxy.batching.outbox import Outbox
from proxy.batching.tables import chunks, leases, outbox
from proxy.dispatching import run
from proxy.settings import Server, Settings
from tests.unit.exporters.spooled import MemorySink, drain
from tests.unit.proxy.batching.an_item import LASTING_S, record
from tests.unit.proxy.batching.outbox_process import MOMENTS

T = TypeVar("T")
ROOT = Path(__file__).parents[4]


def owe(database: Database, *names: str, body: bytes = b"{}") -> None:
    with database.transaction() as connection:
        connection.execute(insert(outbox), [{"record": encode(record(name, response_body=body))} for name in names])


def owed(database: Database) -> tuple[int, int]:
    """Records, and chunks."""
    with database.reading() as connection:
        found = [connection.scalar(select(func.count()).select_from(table)) or 0 for table in (outbox, chunks)]
    return found[0], found[1]


def let_the_lease_expire(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(update(leases).values(expires_ns=0))


def bring_and_die(settings: Settings, moment: str) -> int:
    """The exit status of a process that brings what is owed into the spool."""
    command = [sys.executable, "-m", "tests.unit.proxy.batching.outbox_process", settings.server.data_dir, moment]
    return subprocess.run(command, cwd=ROOT, input=queue_url(settings) + "\n", text=True, timeout=60).returncode


@pytest.fixture
async def lease(database: Database) -> AsyncIterator[Lease]:
    holder = LeaseHolder(database, expiry_s=LASTING_S)
    held = await holder.acquire()
    assert held is not None
    yield held
    await holder.release()


async def test_every_record_reaches_the_recorder(
    settings: Settings, database: Database, lease: Lease, tmp_path: Path
) -> None:
    owe(database, *(f"r{number}" for number in range(1203)))
    part = Outbox(settings, database)
    waits = [await part.step(lease) for _ in range(4)]
    assert [wait > 0 for wait in waits] == [False, False, True, True], "at once as long as there is more"
    assert owed(database) == (0, 0)
    assert len(layout.directories(tmp_path / "spool")) == 3
    sink = MemorySink()
    status = drain(tmp_path, sink)
    assert sink.ids == sorted(f"r{number}" for number in range(1203))
    assert (status.accepted, status.open) == (1203, 0)


async def test_a_chunk_is_bounded_in_bytes_and_one_record_may_be_larger(
    settings: Settings, database: Database, lease: Lease, tmp_path: Path
) -> None:
    owe(database, "large", body=b"x" * 34_000_000)
    owe(database, "a", "b", "c", body=b"x" * 12_000_000)
    part = Outbox(settings, database)
    for left in (3, 1, 0):
        await part.step(lease)
        assert owed(database)[0] == left
    sink = MemorySink()
    drain(tmp_path, sink)
    assert sink.ids == ["a", "b", "c", "large"]


async def test_a_step_that_fails_is_made_good_by_the_next(
    settings: Settings, database: Database, lease: Lease, tmp_path: Path
) -> None:
    """Once before the mark and once after it."""
    owe(database, "r1", "r2")
    part = Outbox(settings, database)
    (tmp_path / "batch").mkdir(exist_ok=True)
    (tmp_path / "batch" / "outgoing").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        await part.step(lease)
    assert owed(database) == (2, 1)
    (tmp_path / "batch" / "outgoing").unlink()
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(OSError, match="File exists"):
        await part.step(lease)
    assert owed(database) == (2, 1)
    (tmp_path / "spool").unlink()
    await part.step(lease)
    assert owed(database) == (0, 0)
    sink = MemorySink()
    drain(tmp_path, sink)
    assert sink.ids == ["r1", "r2"]


async def test_one_that_lost_the_lease_marks_nothing(settings: Settings, database: Database, tmp_path: Path) -> None:
    first, second = LeaseHolder(database, expiry_s=LASTING_S), LeaseHolder(database, expiry_s=LASTING_S)
    old = await first.acquire()
    assert old is not None
    owe(database, "r1")
    new: list[HeldLease | None] = []

    class Overtaken:
        """Another one takes over when the chunk is claimed and staged."""

        async def run(self, work: Callable[[Connection], T]) -> T:
            if owed(database)[1]:
                let_the_lease_expire(database)
                new.append(await second.acquire())
            return await old.run(work)

    with pytest.raises(LeaseLost):
        await Outbox(settings, database).step(Overtaken())
    assert layout.directories(tmp_path / "spool") == []
    assert new[0] is not None
    await Outbox(settings, database).step(new[0])
    sink = MemorySink()
    drain(tmp_path, sink)
    assert sink.ids == ["r1"]
    await first.release()
    await second.release()


async def test_what_another_machine_has_on_its_disk_waits_for_it(
    settings: Settings, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = Settings(server=Server(data_dir=str(tmp_path / "there")), batch=settings.batch)

    class Stopping(Outbox):
        def _publish(self, chunk: str) -> None:
            raise OSError("the machine stops here")

    holder = LeaseHolder(database, expiry_s=LASTING_S)
    lease = await holder.acquire()
    assert lease is not None
    owe(database, "r1")
    with pytest.raises(OSError, match="stops here"):
        await Stopping(there, database, clock=lambda: 0).step(lease)
    owe(database, "r2")
    part = Outbox(settings, database)
    await part.recover()
    await part.step(lease)
    assert owed(database) == (1, 1)
    assert "1 records are on the disk of another machine" in caplog.text
    here, back = MemorySink(), MemorySink()
    drain(tmp_path, here)
    assert here.ids == ["r2"]
    await Outbox(there, database).recover()  # Without the lease.
    drain(tmp_path / "there", back)
    assert back.ids == ["r1"]
    assert owed(database) == (0, 0)
    await holder.release()


async def test_killed_at_every_point_each_record_is_there_once(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    sink = MemorySink()
    names = []
    for moment in MOMENTS:
        names += [f"{moment} {number}" for number in range(3)]
        owe(database, *names[-3:])
        assert bring_and_die(settings, moment) == -signal.SIGKILL, moment
        let_the_lease_expire(database)
        drain(tmp_path, sink)
        assert len(set(sink.ids)) == len(sink.ids), moment
    holder = LeaseHolder(database, expiry_s=LASTING_S)
    lease = await holder.acquire()
    assert lease is not None
    part = Outbox(settings, database)
    await part.step(lease)
    await holder.release()
    assert owed(database) == (0, 0)
    assert list((tmp_path / "batch" / "outgoing").iterdir()) == []
    status = drain(tmp_path, sink)
    assert sink.ids == sorted(names)
    assert (status.accepted, status.open, status.dropped) == (len(names), 0, {})


async def test_what_was_prepared_does_not_wait_for_the_lease(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    """The dispatcher of this machine was killed, and that of another one has the queue now."""
    owe(database, "r1", "r2")
    assert bring_and_die(settings, "after preparation") == -signal.SIGKILL
    let_the_lease_expire(database)
    other = LeaseHolder(database, holder="another machine", expiry_s=LASTING_S)
    assert await other.acquire() is not None
    stop = asyncio.Event()
    dispatcher = asyncio.create_task(run(settings, stop))
    try:
        async with asyncio.timeout(60):
            while owed(database) != (0, 0):
                await asyncio.sleep(0.05)
        assert len(layout.directories(tmp_path / "spool")) == 1
    finally:
        stop.set()
        await dispatcher
        await other.release()
