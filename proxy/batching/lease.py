"""The lease: at any time one dispatcher has it, and what it writes counts only as long as it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection, insert, select, update

from .database import Database
from .finishing import recover
from .refusal import QueueUnavailable
from .tables import leases

logger = logging.getLogger(__name__)

T = TypeVar("T")

EXPIRY_S: Final = 15.0
"""After so long without a word from its holder, another one may have it."""


class LeaseLost(Exception):
    """Another dispatcher has taken over."""


class Lease(Protocol):
    """Held from its acquisition until it is lost."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a thread, in one transaction that counts only while the lease is held, and renew it by that.

        Raises `LeaseLost`, `QueueUnavailable`, and what `work` raises; nothing of it is committed then.
        """


class HeldLease:
    """Implements `Lease`. The epoch rises with every acquisition, so that a holder that slept does no harm."""

    def __init__(self, database: Database, name: str, holder: str, epoch: int, expiry_s: float) -> None:
        self.epoch = epoch
        self._database = database
        self._expiry_s = expiry_s
        self._mine = (leases.c.name == name) & (leases.c.holder == holder) & (leases.c.epoch == epoch)
        self._lost = False
        self._renewing: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Another one has it, or it was given back."""
        return self._lost

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self._run, work)

    def start_renewing(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def end(self) -> None:
        """Give it back, so that the next one need not wait. Safe to call again."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        if not self._lost:
            self._lost = True
            with contextlib.suppress(QueueUnavailable):  # It will expire.
                await asyncio.to_thread(self._give_back)

    def _run(self, work: Callable[[Connection], T]) -> T:
        if self._lost:
            raise LeaseLost("the lease was given back or taken")
        with self._database.transaction() as connection:
            until_ns = self._database.now_ns(connection) + int(self._expiry_s * 1e9)
            if not connection.execute(update(leases).where(self._mine).values(expires_ns=until_ns)).rowcount:
                self._lost = True
                raise LeaseLost("another dispatcher has taken over")
            return work(connection)

    def _give_back(self) -> None:
        with self._database.transaction() as connection:
            connection.execute(update(leases).where(self._mine).values(expires_ns=0))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._expiry_s / 3)
            try:
                await self.run(_nothing)
            except LeaseLost:
                return
            except QueueUnavailable as error:
                logger.warning("The lease of the batch queue cannot be renewed: %s.", error)


class LeaseHolder:
    """One dispatcher's claim to the lease `name`."""

    def __init__(
        self, database: Database, name: str = "dispatcher", *, holder: str = "", expiry_s: float = EXPIRY_S
    ) -> None:
        """`holder`: a name that nobody else has who is alive. A lease in this name is free at once: whoever had it is
        dead. "": one that nobody has ever had."""
        self._database = database
        self._name = name
        self._expiry_s = expiry_s
        self._holder = holder or uuid.uuid4().hex
        self._held: HeldLease | None = None

    async def acquire(self) -> HeldLease | None:
        """The lease, renewed in the background from now on; None while another one has it.

        What the last holder was in the middle of is as `finishing.recover` leaves it. Raises `QueueUnavailable`.
        """
        await self.release()
        epoch = await asyncio.to_thread(self._take)
        if epoch is None:
            return None
        self._held = HeldLease(self._database, self._name, self._holder, epoch, self._expiry_s)
        self._held.start_renewing()
        return self._held

    async def release(self) -> None:
        """Give it back. Safe to call again."""
        if self._held is not None:
            held, self._held = self._held, None
            await held.end()

    def _take(self) -> int | None:
        with self._database.transaction() as connection:
            now_ns = self._database.now_ns(connection)
            row = connection.execute(select(leases).where(leases.c.name == self._name)).one_or_none()
            if row is None:
                connection.execute(insert(leases).values(name=self._name, holder="", epoch=0, expires_ns=0))
            elif row.expires_ns > now_ns and row.holder != self._holder:
                return None
            epoch = (row.epoch if row else 0) + 1
            taken = {"holder": self._holder, "epoch": epoch, "expires_ns": now_ns + int(self._expiry_s * 1e9)}
            connection.execute(update(leases).where(leases.c.name == self._name).values(**taken))
            recover(connection)
            return epoch


def _nothing(connection: Connection) -> None:
    return None
