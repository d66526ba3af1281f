"""`RowTasks`: some rows at a time, each in a task of its own, so that one that is slow or fails holds up no other."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import Row

from .lease import LeaseLost

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 1.0
_PAUSE_MAX_S: Final = 60.0
_SAY_EVERY_S: Final = 60.0


class RowTasks:
    """For rows with an `id`. One whose work raises is left alone for a while, longer each time, and that is logged."""

    def __init__(
        self,
        name: str,
        work: Callable[[Row[Any]], Awaitable[None]],
        *,
        tasks_max: int,
        pause_s: float = _FIRST_PAUSE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name`: how the work is called in the log. `pause_s`: the first pause after a failure, if that is less than
        a second."""
        self._name = name
        self._work = work
        self._tasks_max = tasks_max
        self._pause_s = min(pause_s, _FIRST_PAUSE_S)
        self._monotonic = monotonic
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pauses: dict[str, tuple[float, float]] = {}
        self._lost: LeaseLost | None = None
        self._said_s = float("-inf")

    @property
    def room(self) -> int:
        """How many more rows may be begun."""
        return self._tasks_max - len(self._tasks)

    async def begin_due(self, read: Callable[[], Sequence[Row[Any]]]) -> None:
        """Work on the rows that `read` gives in a thread, as far as there is room.

        Those that were worked on when it began are left for the next time: they may have changed under it.
        """
        busy = set(self._tasks)
        if self.room > 0:
            self.begin([row for row in await asyncio.to_thread(read) if row.id not in busy])

    def begin(self, rows: Sequence[Row[Any]]) -> None:
        """Work on those that are not worked on already, as far as there is room."""
        now_s = self._monotonic()
        for row in rows:
            if self.room <= 0:
                return
            if row.id not in self._tasks and self._pauses.get(row.id, (0.0, 0.0))[0] <= now_s:
                self._tasks[row.id] = asyncio.create_task(self._do(row), name=f"{self._name} {row.id}")

    async def wait(self, timeout_s: float) -> bool:
        """Until one is through with a row, but not for longer. True when one was. Raises `LeaseLost`."""
        if not self._tasks:
            await asyncio.sleep(timeout_s)
            return False
        done, _ = await asyncio.wait(self._tasks.values(), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._lost is not None:
            raise self._lost
        return bool(done)

    async def _do(self, row: Row[Any]) -> None:
        try:
            await self._work(row)
            self._pauses.pop(row.id, None)
        except LeaseLost as lost:
            self._lost = lost
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the others
            self._failed(row.id, error)
        finally:
            del self._tasks[row.id]

    def _failed(self, row_id: str, error: Exception) -> None:
        now_s = self._monotonic()
        _, before_s = self._pauses.get(row_id, (0.0, 0.0))
        pause_s = min(_PAUSE_MAX_S, before_s * 2 or self._pause_s)
        self._pauses = {one: pause for one, pause in self._pauses.items() if now_s - pause[0] < 10 * _PAUSE_MAX_S}
        self._pauses[row_id] = (now_s + pause_s * random.uniform(0.8, 1.2), pause_s)
        if now_s - self._said_s >= _SAY_EVERY_S:
            self._said_s = now_s
            _log.warning("%s %s failed and is tried again: %s", self._name, row_id, _told(error))

    async def aclose(self) -> None:
        """What is under way is broken off; the queue knows where to go on."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]
