"""`Providers`: which provider a batch is at, and a few open clients for those that are in use."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from ..reply import RawHeaders
from ..settings import Upstream
from .provider import Provider


class Providers:
    """The clients of all upstreams and keys that are in use, few enough to keep. For one event loop."""

    def __init__(
        self,
        upstreams: tuple[Upstream, ...],
        *,
        make: Callable[[Upstream, RawHeaders], Provider] = Provider,
        kept_max: int = 64,
        idle_s: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._make = make
        self._kept_max = kept_max
        self._idle_s = idle_s
        self._monotonic = monotonic
        self._kept: dict[tuple[str, bytes], _Kept] = {}

    def upstream(self, name: str) -> Upstream | None:
        """None: it is not configured any more."""
        return self._upstreams.get(name)

    @asynccontextmanager
    async def of(self, upstream: Upstream, headers: RawHeaders) -> AsyncIterator[Provider]:
        """One to use within the block."""
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
