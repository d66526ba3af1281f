"""One question to the queue for all who wait, from the first to the last, and nobody waits for what was before."""

from __future__ import annotations

import asyncio
import logging

import pytest

from proxy.batching.callers.waiting import Waiting
from proxy.batching.refusal import QueueUnavailable


class Ends:
    """A queue of ended items, and the hand that moves time on."""

    def __init__(self) -> None:
        self.ids = ["before"]
        self.asked: list[int] = []
        self.error: Exception | None = None
        self._turn = asyncio.Semaphore(0)

    async def ended(self, after_seq: int) -> tuple[int, list[str]]:
        self.asked.append(after_seq)
        if self.error is not None:
            raise self.error
        return len(self.ids), self.ids[after_seq:] if after_seq >= 0 else []

    async def sleep(self, seconds: float) -> None:
        await self._turn.acquire()

    async def turn(self) -> None:
        """Let the next question be asked and answered."""
        self._turn.release()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def ends() -> Ends:
    return Ends()


@pytest.fixture
async def waiting(ends: Ends) -> Waiting:
    return Waiting(ends.ended, sleep=ends.sleep)


async def test_one_question_serves_all(ends: Ends, waiting: Waiting) -> None:
    tickets = await asyncio.gather(*(waiting.expect(name) for name in ("a", "b", "b", "before")))
    assert ends.asked == [-1]
    await ends.turn()
    ends.ids += ["b", "x"]
    await ends.turn()
    assert ends.asked == [-1, 1, 1]
    assert [await ticket.wait(0) for ticket in tickets] == [False, True, True, False]
    ends.ids += ["a"]
    await ends.turn()
    assert ends.asked[-1] == 3
    assert await tickets[0].wait(0) is True


async def test_nothing_is_asked_when_nobody_waits(ends: Ends, waiting: Waiting) -> None:
    ticket = await waiting.expect("a")
    await ends.turn()
    ticket.close()
    ticket.close()
    asked = len(ends.asked)
    await ends.turn()
    assert len(ends.asked) == asked
    ends.ids += ["meanwhile"]
    await waiting.expect("b")
    assert ends.asked[asked:] == [-1]
    await ends.turn()
    assert ends.asked[-1] == 2


async def test_a_queue_that_cannot_be_asked_is_asked_again(
    ends: Ends, waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = await waiting.expect("a")
    ends.ids += ["a"]
    for error in (QueueUnavailable("down"), QueueUnavailable("down"), ValueError("odd")):
        ends.error = error
        await ends.turn()
    assert await ticket.wait(0) is False
    ends.error = None
    await ends.turn()
    assert await ticket.wait(0) is True
    told = [record.levelno for record in caplog.records if record.name == "proxy.batching.callers.waiting"]
    assert told == [logging.WARNING, logging.ERROR]


async def test_nobody_waits_for_a_queue_that_cannot_be_asked_at_all(ends: Ends, waiting: Waiting) -> None:
    ends.error = QueueUnavailable("down")
    results = await asyncio.gather(*(waiting.expect(name) for name in "ab"), return_exceptions=True)
    assert [type(result) for result in results] == [QueueUnavailable] * 2
    assert ends.asked == [-1]
    ends.error = None
    ticket = await waiting.expect("a")
    ends.ids += ["a"]
    await ends.turn()
    assert await ticket.wait(0) is True


async def test_whoever_leaves_at_the_beginning_takes_nothing_with_him(ends: Ends, waiting: Waiting) -> None:
    first, second = (asyncio.ensure_future(waiting.expect("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    ticket = await second
    ends.ids += ["a"]
    await ends.turn()
    assert await ticket.wait(0) is True


async def test_all_are_sent_away_at_the_end(ends: Ends, waiting: Waiting) -> None:
    ticket = await waiting.expect("a")
    asked = asyncio.ensure_future(ticket.wait(60))
    await asyncio.sleep(0)
    waiting.close()
    assert await asked
    assert await (await waiting.expect("b")).wait(60)
    await ends.turn()
    assert waiting._polling is None
