"""The process that `test_outbox_kill.py` starts: brings records into the spool, and dies at the moment it is told.

Its first line of input is the address of the queue; its arguments are the data directory and the moment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

from sqlalchemy import Connection

from proxy.batching.database import Database
from proxy.batching.lease import LeaseHolder
from proxy.batching.outbox import Outbox
from proxy.settings import Server, Settings

MOMENTS = (
    "in claim",
    "after claim",
    "in stage",
    "after stage",
    "in preparation",
    "after preparation",
    "after rename",
    "after removal",
)


class Dying(Outbox):
    moment = ""

    def at(self, moment: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def _claim(self, connection: Connection) -> tuple[str, bool]:
        claimed = super()._claim(connection)
        self.at("in claim")  # ... and nothing of it is committed.
        return claimed

    def _records(self, chunk: str) -> Iterator[bytes]:
        for record in super()._records(chunk):
            yield record
            self.at("in stage")

    def _stage(self, chunk: str) -> None:
        self.at("after claim")
        super()._stage(chunk)
        self.at("after stage")

    def _mark_prepared(self, connection: Connection, chunk: str) -> None:
        super()._mark_prepared(connection, chunk)
        self.at("in preparation")

    def _publish(self, chunk: str) -> None:
        self.at("after preparation")
        super()._publish(chunk)
        self.at("after rename")

    def _remove(self, chunk: str) -> None:
        super()._remove(chunk)
        self.at("after removal")


async def main(folder: str, moment: str) -> None:
    database = Database.open(sys.stdin.readline().strip())
    lease = await LeaseHolder(database).acquire()
    assert lease is not None
    outbox = Dying(Settings(server=Server(data_dir=folder)), database)
    outbox.moment = moment
    while True:
        await outbox.step(lease)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
