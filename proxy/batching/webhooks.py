"""`Webhooks`: tells those who left an address that their call has its answer.

Deliveries are signed as Standard Webhooks are, and told at least once: a receiver knows one that it had by its
`webhook-id`. When the next try is due is kept in the queue, so that a restart neither forgets nor hurries one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, Row, literal_column, select, update

from ..http.delivery import Deliverer, Forbidden, Undelivered
from ..settings import Settings
from .callers.told import location
from .database import Database
from .lease import Lease
from .signing import signed, signing_key
from .tables import items

_log = logging.getLogger(__name__)

PAUSES_S: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)
"""After each try that failed, up to a fifth more; then it is given up, after about four hours."""
DELIVERIES_MAX: Final = 32
"""At a time; to one host a quarter of that."""
_TO_ONE_HOST_MAX: Final = 8
_IDLE_S: Final = 0.5
_WAITING: Final = literal_column("webhook_state") == literal_column("'waiting'")
"""Said in these words, it lets SQLite use the index."""
_SECOND_NS: Final = 1_000_000_000
_GONE: Final = 410


class Posts(Protocol):
    """`http.delivery.Deliverer`."""

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int: ...

    async def aclose(self) -> None: ...


class _Told(NamedTuple):
    """What came of one try."""

    id: str
    attempts: int
    state: str
    at_ns: int


class Webhooks:
    """The part."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        posts: Posts | None = None,
        clock: Callable[[], int] = time.time_ns,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Raises `BadSecret`."""
        self._key = signing_key(settings.batch.webhook_secret)
        self._database = database
        self._posts: Posts = posts or Deliverer(settings.batch.webhook_hosts)
        self._clock = clock
        self._dice = dice
        self._telling: dict[str, asyncio.Task[_Told]] = {}

    @property
    def name(self) -> str:
        return "webhooks"

    async def step(self, lease: Lease) -> float:
        ended = [task.result() for task in self._telling.values() if task.done()]
        if ended:
            await lease.run(partial(_note, ended))
            for one in ended:
                del self._telling[one.id]
        for row in await asyncio.to_thread(self._look):
            self._telling[row.id] = asyncio.ensure_future(self._tell(row))
        if not self._telling:
            return _IDLE_S
        await asyncio.wait(self._telling.values(), timeout=_IDLE_S, return_when=asyncio.FIRST_COMPLETED)
        return 0.0

    async def aclose(self) -> None:
        """What is being told may be told again."""
        for task in self._telling.values():
            task.cancel()
        await asyncio.gather(*self._telling.values(), return_exceptions=True)
        self._telling.clear()
        await self._posts.aclose()

    def _look(self) -> Sequence[Row[Any]]:
        """In a thread: what is due and is not being told, so few to one host that it cannot keep all others waiting."""
        busy = list(self._telling)
        columns = [items.c[name] for name in ("id", "state", "status", "webhook", "webhook_attempts", "done_ns")]
        due = (items.c.webhook_at_ns <= self._clock()) & items.c.id.not_in(busy)
        with self._database.reading() as connection:
            found = connection.execute(
                select(*columns).where(_WAITING, due).order_by(items.c.webhook_at_ns).limit(4 * DELIVERIES_MAX)
            ).all()
            urls = connection.scalars(select(items.c.webhook).where(items.c.id.in_(busy))).all() if busy else []
        hosts = Counter(map(_host, urls))
        chosen: list[Row[Any]] = []
        for row in found:
            hosts[_host(row.webhook)] += 1
            if len(busy) + len(chosen) < DELIVERIES_MAX and hosts[_host(row.webhook)] <= _TO_ONE_HOST_MAX:
                chosen.append(row)
        return chosen

    async def _tell(self, row: Row[Any]) -> _Told:
        attempts = row.webhook_attempts + 1
        status, why = 0, ""
        try:
            status = await self._post(row)
        except Forbidden as refusal:
            return self._given_up(row, attempts, str(refusal))
        except Undelivered as fault:
            why = str(fault)
        except Exception:  # noqa: BLE001 - one must not hold up all others
            _log.exception("a defect of Penstock failed the webhook of %s", row.id)
            why = "a defect of Penstock"
        if 200 <= status < 300:
            return _Told(row.id, attempts, "delivered", 0)
        why = why or f"it answered {status}"
        if status == _GONE or attempts > len(PAUSES_S):
            return self._given_up(row, attempts, why)
        pause_s = PAUSES_S[attempts - 1] * (1 + self._dice() / 5)
        return _Told(row.id, attempts, "waiting", self._clock() + int(pause_s * _SECOND_NS))

    async def _post(self, row: Row[Any]) -> int:
        at_s = self._clock() // _SECOND_NS
        body = msgspec.json.encode(_event(row, at_s))
        headers = {"Content-Type": "application/json", "User-Agent": "penstock"}
        return await self._posts.post(row.webhook, headers | signed(self._key, f"msg_{row.id}", at_s, body), body)

    def _given_up(self, row: Row[Any], attempts: int, why: str) -> _Told:
        # Not the address: whoever gave it may have put a key into it.
        _log.warning("the webhook of %s is given up after %d tries: %s", row.id, attempts, why)
        return _Told(row.id, attempts, "given_up", 0)


def _note(told: Sequence[_Told], connection: Connection) -> None:
    for one in told:
        values = {"webhook_state": one.state, "webhook_attempts": one.attempts, "webhook_at_ns": one.at_ns}
        connection.execute(update(items).where(items.c.id == one.id).values(**values))


def _event(row: Row[Any], at_s: int) -> dict[str, Any]:
    status = "cancelled" if row.state == "cancelled" else "failed" if row.status >= 400 else "completed"
    return {
        "object": "event",
        "id": f"evt_{row.id}",
        "type": f"deferred.{status}",
        "created_at": row.done_ns // _SECOND_NS or at_s,
        "data": {"id": row.id, "status": status, "location": location(row.id)},
    }


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
