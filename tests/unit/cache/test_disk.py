"""Disk keeps the contract of a store, whatever becomes of its folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cache.disk import Disk
from cache.shelf import Shelf, ShelfFault
from tests.unit.cache.entries import Clock, entry, key, let_go
from tests.unit.cache.store_contract import StoreContract

LIMIT = 100_000_000


class Seconds:
    """A monotonic clock that moves only when told to: a pause after a fault lasts until then."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def opened(folder: Path, seconds: Seconds, clock: Callable[[], int] = time.time_ns) -> Disk:
    """One that is waited for, however slow it is, and that does not tidy up."""
    return Disk(folder, LIMIT, clock, seconds, timeout_s=60.0, tidy=False)


@dataclass
class OnDisk:
    store: Disk
    clock: Clock
    seconds: Seconds
    folder: Path

    async def spoil(self, key: str, position: int) -> None:
        """Where the value is: in its file or in its row."""
        files = [*self.folder.rglob(f"{key}.*.val")]
        with contextlib.closing(sqlite3.connect(self.folder / "replies" / "cache.db")) as database, database:
            data = bytearray(
                files[0].read_bytes() if files else database.execute("SELECT value FROM Cache").fetchone()[0]
            )
            data[position] ^= 1
            if files:
                files[0].write_bytes(data)
            else:
                database.execute("UPDATE Cache SET value = ?", (bytes(data),))


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[OnDisk]:
    clock, seconds = Clock(), Seconds()
    disk = opened(tmp_path / "cache", seconds, clock)
    yield OnDisk(disk, clock, seconds, tmp_path / "cache")
    await disk.aclose()


class TestDisk(StoreContract):
    @pytest.fixture
    def harness(self, harness: OnDisk) -> OnDisk:
        return harness


def database_of(harness: OnDisk) -> Path:
    return harness.folder / "replies" / "cache.db"


async def until_served_again(disk: Disk, number: int, seconds: Seconds) -> None:
    """Put and get, past the pause that a fault begins."""
    for _ in range(20):
        seconds.now_s += 60
        await disk.put(key(number), entry(number))
        if await disk.get(key(number)) is not None:
            return
    raise AssertionError("the store did not recover")


async def test_another_process_finds_what_was_put_and_nobody_else_may_look(harness: OnDisk) -> None:
    kept = entry(1, size=70_000)
    await harness.store.put(key(1), kept)
    other = opened(harness.folder, harness.seconds)
    assert await other.get(key(1)) == kept
    await other.aclose()
    assert stat.S_IMODE((harness.folder / "replies").stat().st_mode) == 0o700
    assert stat.S_IMODE(harness.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("garbage", [b"this is not a database" * 1000, b""], ids=["garbage", "empty"])
async def test_a_broken_database_is_moved_aside_and_a_new_one_begun(harness: OnDisk, garbage: bytes) -> None:
    await harness.store.put(key(1), entry(1, size=70_000))
    await let_go(harness.store)
    for path in harness.folder.glob("replies/cache.db*"):
        path.unlink()
    database_of(harness).write_bytes(garbage)
    disk = opened(harness.folder, harness.seconds)
    await until_served_again(disk, 2, harness.seconds)
    assert await disk.get(key(1)) is None
    if garbage:
        assert (await disk.stats()).failed >= 1
        assert len([*harness.folder.glob("broken-*")]) == 1
    await disk.aclose()


async def test_a_database_that_breaks_while_it_is_open_is_replaced(harness: OnDisk) -> None:
    disk = harness.store
    kept = [entry(number, size=20_000) for number in range(40)]
    for number in range(40):
        await disk.put(key(number), kept[number])
    with contextlib.closing(sqlite3.connect(database_of(harness))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database_of(harness).open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(database_of(harness).stat().st_size - 4096))
    for number in range(40):
        assert await disk.get(key(number)) in (None, kept[number])
    await until_served_again(disk, 1, harness.seconds)
    stats = await disk.stats()
    assert stats.failed >= 1
    assert stats.entries < 40


async def test_a_folder_that_was_taken_away_is_made_anew(harness: OnDisk) -> None:
    disk = harness.store
    await disk.put(key(1), entry(1))
    (harness.folder / "replies").rename(harness.folder / "elsewhere")
    await asyncio.sleep(1.1)  # how often it looks
    await until_served_again(disk, 2, harness.seconds)
    assert database_of(harness).exists()


async def test_a_locked_database_is_read_all_the_same_and_puts_are_counted_as_failed(harness: OnDisk) -> None:
    disk = harness.store
    await disk.put(key(1), entry(1))
    with contextlib.closing(sqlite3.connect(database_of(harness), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(disk.put(key(2), entry(2)))
        assert await disk.get(key(1)) is not None
        await waiting
        assert (await disk.stats()).failed == 1
        await disk.put(key(3), entry(3))
        assert (await disk.stats()).skipped == 1
        other.execute("ROLLBACK")
    await until_served_again(disk, 3, harness.seconds)


async def test_a_database_that_is_locked_when_it_is_opened_is_left_alone(harness: OnDisk) -> None:
    await harness.store.put(key(1), entry(1))
    disk = opened(harness.folder, harness.seconds)
    with contextlib.closing(sqlite3.connect(database_of(harness), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await disk.get(key(1)) is None
        assert (await disk.stats()).failed >= 1
        other.execute("ROLLBACK")
    await until_served_again(disk, 2, harness.seconds)
    assert await disk.get(key(1)) is not None
    assert [*harness.folder.glob("broken-*")] == []
    await disk.aclose()


async def test_a_folder_that_cannot_be_made_is_a_store_that_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    disk = opened(tmp_path / "cache", Seconds())
    await disk.put(key(1), entry(1))
    assert await disk.get(key(1)) is None
    assert (await disk.stats()).failed >= 1
    await disk.aclose()


async def test_what_a_foreign_hand_pickled_is_not_unpickled(harness: OnDisk) -> None:
    disk, trap = harness.store, b"cposix\nsystem\n(S'touch " + str(harness.folder / "trapped").encode() + b"'\ntR."
    await disk.put(key(1), entry(1))
    with contextlib.closing(sqlite3.connect(database_of(harness))) as database, database:
        database.execute("UPDATE Cache SET mode = 4, value = ?", (trap,))
    assert await disk.get(key(1)) is None
    assert (await disk.stats()).corrupt == 1
    await disk.put(key(1), entry(1))
    with contextlib.closing(sqlite3.connect(database_of(harness))) as database, database:
        database.execute("UPDATE Cache SET raw = 0, key = ?", (trap,))
    assert [pair async for pair in disk.scan()] == []
    assert not (harness.folder / "trapped").exists()


async def test_a_row_names_no_file_outside_its_folder(harness: OnDisk, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    await harness.store.put(key(1), entry(1, size=70_000))
    with contextlib.closing(sqlite3.connect(database_of(harness))) as database, database:
        database.execute("UPDATE Cache SET filename = ?", ("../../precious",))
    assert await harness.store.get(key(1)) is None
    assert (tmp_path / "precious").read_text() == "mine"


async def test_reads_that_would_pile_up_are_misses_and_puts_are_dropped(harness: OnDisk) -> None:
    disk = harness.store
    found = await asyncio.gather(*(disk.get(key(number)) for number in range(300)))
    assert found == [None] * 300
    for number in range(300):
        disk.offer(key(number), entry(number))
    assert await disk.drain(60)
    stats = await disk.stats()
    assert stats.skipped >= 88
    assert stats.misses + stats.puts + stats.skipped + stats.failed == 600


async def test_bodies_that_wait_to_be_written_are_bounded_in_bytes(harness: OnDisk) -> None:
    for number in range(9):
        harness.store.offer(key(number), entry(number, size=10_000_000))
    assert (await harness.store.stats()).skipped == 3
    assert await harness.store.drain(60)


def test_the_interpreter_ends_although_a_write_waits_for_its_lock(tmp_path: Path) -> None:
    program = f"""
import asyncio, sqlite3, sys
from pathlib import Path
from cache.disk import Disk
from tests.unit.cache.entries import entry, key
async def main():
    disk = Disk(Path({str(tmp_path)!r}), {LIMIT})
    await disk.put(key(1), entry(1))
    other = sqlite3.connect({str(tmp_path / "replies" / "cache.db")!r}, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(200):
        disk.offer(key(number), entry(number))
    await disk.aclose()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestShelf:
    """What nobody sees from outside: room is made in small steps, and files that no row names go."""

    NOW = time.time_ns()

    def test_what_was_stored_first_makes_room(self, tmp_path: Path) -> None:
        shelf = Shelf(tmp_path, 1_000_000)
        for number in range(30):
            shelf.write(key(number), bytes(60_000), 0)
        steps = []
        while gone := shelf.cull(3, self.NOW):
            steps.append(gone)
        assert set(steps) == {3}
        assert 800_000 < shelf.volume() < 1_000_000
        left = shelf.count()
        assert [shelf.read(key(number)) is not None for number in range(30)] == [False] * (30 - left) + [True] * left
        assert len([*tmp_path.rglob("*.val")]) == left
        shelf.close()

    def test_what_has_expired_goes_first(self, tmp_path: Path) -> None:
        shelf = Shelf(tmp_path, 1_000_000)
        shelf.write(key(1), bytes(60_000), 0)
        shelf.write(key(2), bytes(60_000), self.NOW + 60 * 10**9)
        assert shelf.cull(10, self.NOW) == 0
        assert shelf.cull(10, self.NOW + 61 * 10**9) == 1
        assert shelf.keys() == [key(1)]
        shelf.close()

    def test_old_files_that_no_row_names_are_swept_and_no_others(self, tmp_path: Path) -> None:
        shelf = Shelf(tmp_path, LIMIT)
        for number in range(3):
            shelf.write(key(number), bytes(60_000), 0)
        (kept,) = tmp_path.rglob(f"{key(1)}.*.val")
        orphans = [kept.with_name(f"{key(one)}.{'0' * 16}.val") for one in (1, 7)]
        young = kept.with_name(f"{key(8)}.{'0' * 16}.val")
        stranger = kept.with_name("notes.val")
        for path in (*orphans, young, stranger):
            path.write_bytes(b"torn")
        for path in (*orphans, stranger, *tmp_path.rglob(f"{key(0)}.*.val"), kept):
            os.utime(path, (time.time() - 3600,) * 2)
        (tmp_path / "broken-1-2" / "ab").mkdir(parents=True)
        assert shelf.sweep(threading.Event(), 0) == 2
        assert [path.exists() for path in (*orphans, young, stranger, kept)] == [False, False, True, True, True]
        assert not (tmp_path / "broken-1-2").exists()
        assert all(shelf.read(key(number)) for number in range(3))
        shelf.close()

    @pytest.mark.timeout(50)
    def test_a_database_that_is_locked_keeps_nobody_waiting_who_opens_it(self, tmp_path: Path) -> None:
        """diskcache itself would try for a minute, and hold up every other process that opens it meanwhile."""
        Shelf(tmp_path, LIMIT).write(key(1), bytes(10), 0)
        with contextlib.closing(sqlite3.connect(tmp_path / "replies" / "cache.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ShelfFault, match="locked"):
                Shelf(tmp_path, LIMIT).read(key(1))
            other.execute("ROLLBACK")
        assert Shelf(tmp_path, LIMIT).read(key(1)) == bytes(10)

    def test_only_text_and_bytes_go_in(self, tmp_path: Path) -> None:
        shelf = Shelf(tmp_path, LIMIT)
        with pytest.raises(TypeError):
            shelf.write(key(1), {"a": 1}, 0)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            shelf.read(7)  # type: ignore[arg-type]
        shelf.write(key(1), bytes(10), 0)
        with pytest.raises(ShelfFault):
            shelf.write("../escape", bytes(60_000), 0)
        assert shelf.keys() == [key(1)]
        shelf.close()


async def test_the_janitor_makes_room_in_one_process_at_a_time(tmp_path: Path) -> None:
    untidy = opened(tmp_path, Seconds())
    for number in range(40):
        await untidy.put(key(number), entry(number, size=60_000))
    assert (await untidy.stats()).puts == 40
    disks = [Disk(tmp_path, 1_000_000) for _ in range(2)]
    counts = [0, 0]
    async with asyncio.timeout(60):
        while sum(counts) < 24:  # Of the forty, sixteen are less than what there is room for.
            await asyncio.sleep(0.05)
            counts = [(await disk.stats()).evicted for disk in disks]
    assert (await untidy.stats()).bytes < 1_000_000
    assert 0 in counts
    for disk in (untidy, *disks):
        await disk.aclose()
