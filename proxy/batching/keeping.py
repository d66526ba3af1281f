"""Gives replies to the response cache that came after their callers had been sent away, or had them wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from cache.entry import Entry
from cache.tiers import Tiers

from ..caching.serving import headers_to_keep
from ..openai.replay import complete
from ..settings import Settings
from .item import Answer, decode_context

_DRAIN_S: Final = 2.0


class ReplyKeeper:
    """Puts replies into the tiers that all workers share: disk and Redis. Never raises. For one event loop."""

    def __init__(self, settings: Settings, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._clock = clock
        self._tiers: Tiers | None = None

    async def __call__(self, row: Row[Any], answer: Answer) -> None:
        """Keep the answer of an item (a row of `items`), if its call asked for that and it is whole and went well."""
        if not 200 <= answer.status < 300 or len(answer.body) > self._settings.cache.entry_bytes_max:
            return
        context = decode_context(row.context)
        keep = context.keep
        if keep is None or not complete(row.endpoint, answer.body, stream=False):
            return
        headers, _ = headers_to_keep(answer.headers)
        now_ns = self._clock()
        entry = Entry(
            request_id=context.request_id,
            created_ns=now_ns,
            expires_ns=now_ns + int(keep.ttl_s * 1e9) if keep.ttl_s else 0,
            endpoint=row.endpoint,
            upstream=row.upstream,
            provider=context.provider,
            model=row.model,
            namespace=keep.namespace,
            headers=headers,
            body=answer.body,
        )
        self._opened().put(keep.key, entry)

    def _opened(self) -> Tiers:
        if self._tiers is None:
            from ..caching.opening import tiers_of  # only now: most dispatchers keep nothing

            # Memory is a worker's own.
            shared = msgspec.structs.replace(self._settings.cache, memory_bytes_max=0)
            self._tiers = tiers_of(shared, Path(self._settings.server.data_dir) / "cache")
        return self._tiers

    async def aclose(self) -> None:
        if self._tiers is not None:
            await self._tiers.drain(_DRAIN_S)
            await self._tiers.aclose()
