"""A caller's own batch through a worker, and the watcher of a dispatcher that may die anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from openai import AsyncOpenAI
from openai.types import Batch as OpenAIBatch
from sqlalchemy import Connection, Row, select

from exporters.record import CallRecord, decode_record
from proxy.batching.database import Database, queue_url
from proxy.batching.lease import HeldLease, Lease, LeaseHolder
from proxy.batching.provider.providers import Providers
from proxy.batching.provider.watching import Watcher
from proxy.batching.records import ItemRecords
from proxy.batching.sealing import Sealer
from proxy.batching.tables import batches, outbox
from proxy.settings import Batch, Price, Server, Settings, Upstream
from tests.batch_provider import BatchProvider
from tests.wire.proxied import PATIENCE_S, Proxied, proxied

T = TypeVar("T")
KEY = "sk-the-key-of-the-caller"
PRICES = {"gpt-4o-mini": Price(input=2.0, output=4.0, tiers={"batch": 0.5})}


def asked(count: int, **changes: Any) -> bytes:
    """An input file of so many lines."""
    lines = []
    for number in range(count):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"number {number}"}]}
        line = {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        lines.append(json.dumps(line | changes))
    return "\n".join(lines).encode()


@dataclass
class Own:
    """What a test has: the provider, the worker before it, the queue that they share, and a client."""

    provider: BatchProvider
    proxy: Proxied
    settings: Settings
    client: AsyncOpenAI

    @cached_property
    def database(self) -> Database:
        return Database.open(queue_url(self.settings))

    async def make(self, data: bytes, **more: Any) -> OpenAIBatch:
        """Upload the lines and create the batch, as the SDK's users do."""
        file = await self.client.files.create(file=("in.jsonl", data), purpose="batch")
        made: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return await self.client.batches.create(input_file_id=file.id, **made | more)

    async def ended(self, batch_id: str) -> None:
        """Until the provider is through with it. Asks the provider itself, so that nobody notices."""
        async with asyncio.timeout(PATIENCE_S):
            while batch_id in self.provider.state()["running"]:
                await asyncio.sleep(0.02)

    def rows(self) -> Sequence[Row[Any]]:
        with self.database.reading() as connection:
            return connection.execute(select(batches)).all()

    def records(self) -> list[CallRecord]:
        with self.database.reading() as connection:
            found = connection.scalars(select(outbox.c.record).order_by(outbox.c.id)).all()
        return [decode_record(record) for record in found]

    def calls(self) -> dict[str, CallRecord]:
        """The records of the lines by what they asked; never two of one line."""
        found = [record for record in self.records() if record.kind == "call"]
        assert len({record.request_id for record in found}) == len(found)
        return {json.loads(record.request_body or b"{}")["messages"][0]["content"]: record for record in found}

    async def watch(self, killed_at: int | None = None, *, committed: bool = False) -> bool:
        """A dispatcher's life: until no batch is watched any more, or until it is killed at its transaction of that
        number, before or after that is `committed`. True: it was killed."""
        holder = LeaseHolder(self.database)
        held = await holder.acquire()
        assert held is not None
        if killed_at is None:
            await self.work(held)
        else:
            lease = Fatal(held, killed_at, committed=committed)
            work = asyncio.ensure_future(self.work(lease))
            await asyncio.wait([work, lease.killed], return_when=asyncio.FIRST_COMPLETED)
            if lease.killed.done():
                work.cancel()
                await asyncio.wait([work])
            else:
                await work
                killed_at = None
        await holder.release()
        return killed_at is not None

    async def work(self, lease: Lease) -> None:
        """Until nothing is watched any more, or for ever when the lease kills."""
        providers = Providers(self.settings.upstreams, self.database, Sealer.of(self.settings))
        watcher = Watcher(self.settings, self.database, providers, ItemRecords(self.settings))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while any(row.state == "watched" for row in self.rows()):
                    await watcher.step(lease)
        finally:
            await watcher.aclose()
            await providers.aclose()


class Unfenced:
    """What a dispatcher would have that does not know that another one has taken over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._database.transaction() as connection:
            return work(connection)


class Fatal:
    """A lease that kills its holder at the transaction `at`, before or after it is committed."""

    def __init__(self, lease: HeldLease, at: int, *, committed: bool) -> None:
        self._lease = lease
        self._left = at
        self._committed = committed
        self.killed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, work: Callable[[Connection], T]) -> T:
        self._left -= 1
        if self._left < 0:
            if self._left == -1:
                if self._committed:
                    await self._lease.run(work)
                self.killed.set_result(None)
            await asyncio.Event().wait()
        return await self._lease.run(work)


@asynccontextmanager
async def own_batches(tmp_path: Path, *, batch: Batch | None = None, **upstream: Any) -> AsyncIterator[Own]:
    """A provider, and a worker before it whose callers bring their keys."""
    configured = batch or Batch(poll_s=0.1, poll_max_s=0.1)
    with BatchProvider(tmp_path / "provider") as provider:
        data_dir = tmp_path / "data"
        settings = Settings(
            server=Server(data_dir=str(data_dir)),
            upstreams=(Upstream(name="scripted", base_url=provider.base_url, provider="openai", **upstream),),
            batch=configured,
            prices=PRICES,
        )
        made = {"upstream": {"provider": "openai", **upstream}, "batch": configured, "prices": PRICES}
        async with proxied(data_dir, provider.url, **made) as proxy:
            client = AsyncOpenAI(base_url=proxy.url, api_key=KEY, max_retries=0)
            own = Own(provider, proxy, settings, client)
            try:
                yield own
            finally:
                await client.close()
                if "database" in vars(own):
                    own.database.close()
