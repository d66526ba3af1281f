"""Rows are worked on some at a time; one that fails is left alone for a while and holds up no other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.batching.lease import LeaseLost
from proxy.batching.row_tasks import RowTasks


def rows(*names: str) -> list[Any]:
    return [SimpleNamespace(id=name) for name in names]


async def test_no_more_than_there_is_room_for_and_none_twice() -> None:
    begun: list[str] = []
    go = asyncio.Event()

    async def work(row: Any) -> None:
        begun.append(row.id)
        await go.wait()

    tasks = RowTasks("the work", work, tasks_max=2)
    tasks.begin(rows("a", "a", "b", "c"))
    await asyncio.sleep(0)
    assert begun == ["a", "b"]
    assert tasks.room == 0
    go.set()
    assert await tasks.wait(60.0)
    await tasks.aclose()


async def test_a_row_that_fails_is_left_alone_longer_each_time(caplog: pytest.LogCaptureFixture) -> None:
    begun: list[str] = []
    now_s = 0.0

    async def work(row: Any) -> None:
        begun.append(row.id)
        if row.id == "bad":
            raise ValueError("on purpose")

    async def pass_(at_s: float) -> None:
        nonlocal now_s
        now_s = at_s
        tasks.begin(rows("bad", "good"))
        await tasks.wait(60.0)
        await asyncio.sleep(0.01)

    tasks = RowTasks("the work", work, tasks_max=4, monotonic=lambda: now_s)
    await pass_(0.0)
    await pass_(0.5)
    assert begun.count("bad") == 1
    await pass_(1.3)
    assert begun.count("bad") == 2
    await pass_(2.5)
    assert begun.count("bad") == 2
    await pass_(4.0)
    assert begun.count("bad") == 3
    assert begun.count("good") == 5
    assert caplog.text.count("the work bad failed") == 1


async def test_rows_that_were_worked_on_while_they_were_read_are_left_for_the_next_time() -> None:
    """Read before its task wrote, a row would be worked on a second time as if nothing had been done."""
    begun: list[str] = []
    go = asyncio.Event()

    async def work(row: Any) -> None:
        begun.append(row.id)
        await go.wait()

    loop = asyncio.get_running_loop()

    def read() -> list[Any]:
        found = rows("a", "b")
        loop.call_soon_threadsafe(go.set)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.02), loop).result(60)
        return found

    tasks = RowTasks("the work", work, tasks_max=4)
    tasks.begin(rows("a"))
    await asyncio.sleep(0)
    await tasks.begin_due(read)
    await tasks.wait(60.0)
    assert begun == ["a", "b"]


async def test_a_lost_lease_is_raised() -> None:
    async def work(row: Any) -> None:
        raise LeaseLost("on purpose")

    tasks = RowTasks("the work", work, tasks_max=4)
    tasks.begin(rows("a"))
    with pytest.raises(LeaseLost):
        await tasks.wait(60.0)
