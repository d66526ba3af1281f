"""`Providers`: who a batch is made at, with which key, and a few open clients for those that are in use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import Row

from ...reply import RawHeaders
from ...settings import Upstream
from ..database import Database
from ..item import decode_context
from ..sealing import Sealer, Unsealable, opened
from .provider import Provider, Unavailable


class Providers:
    """The clients of all upstreams and keys that are in use, few enough to keep. For one event loop."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        database: Database,
        sealer: Sealer,
        *,
        make: Callable[[Upstream, RawHeaders], Provider] = Provider,
        kept_max: int = 64,
        idle_s: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._database = database
        self._sealer = sealer
        self._make = make
        self._kept_max = kept_max
        self._idle_s = idle_s
        self._monotonic = monotonic
        self._kept: dict[tuple[str, bytes], _Kept] = {}

    @asynccontextmanager
    async def of_batch(self, row: Row[Any]) -> AsyncIterator[Provider]:
        """To use within the block, for a row of `batches`.

        Raises `Unavailable` when the upstream is not configured any more or the key of its callers cannot be opened.
        """
        upstream = self._upstreams.get(row.upstream)
        if upstream is None:
            raise Unavailable(f"{row.upstream} is no upstream any more")
        try:
            headers = await asyncio.to_thread(self._headers, row)
        except Unsealable as error:
            raise Unavailable(str(error)) from error
        async with self._of(upstream, headers) as provider:
            yield provider

    def _headers(self, row: Row[Any]) -> RawHeaders:
        """The callers' credential, and what else the first of them said that matters to the upstream."""
        credential: RawHeaders = []
        if row.credential:
            with self._database.reading() as connection:
                credential = opened(connection, row.credential, self._sealer)
        names = {name for name, _ in credential}
        return [*credential, *(pair for pair in decode_context(row.context).headers if pair[0].lower() not in names)]

    @asynccontextmanager
    async def _of(self, upstream: Upstream, headers: RawHeaders) -> AsyncIterator[Provider]:
        key = (upstream.name, msgspec.msgpack.encode(headers))
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(self._make(upstream, headers))
        kept.users += 1
        try:
            yield kept.provider
        finally:
            kept.users -= 1
            kept.used_s = self._monotonic()
            await self._close_idle()

    async def _close_idle(self) -> None:
        now_s = self._monotonic()
        idle = sorted((one.used_s, key) for key, one in self._kept.items() if not one.users)
        surplus = len(self._kept) - self._kept_max
        for number, (used_s, key) in enumerate(idle):
            if number < surplus or now_s - used_s > self._idle_s:
                await self._kept.pop(key).provider.aclose()

    async def aclose(self) -> None:
        for one in [*self._kept.values()]:
            await one.provider.aclose()
        self._kept.clear()


class _Kept:
    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.users = 0
        self.used_s = 0.0
