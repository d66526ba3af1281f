"""The architecture of a worker is the list in this file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache.tiers import Tiers
from exporters.spool import SpoolWriter
from exporters.trace_context import new_request_id

from .background import Claims
from .batching.callers.control import Schedules
from .batching.callers.deferring import Deferring
from .batching.callers.waiting import Waiting
from .batching.live.flex import ask_flex
from .batching.live.load import Load
from .batching.queue import Queue
from .cache_endpoints import CacheEndpoints
from .caching.opening import index_of, tiers_of
from .chain import Stage, compose
from .credentials import KeyRing
from .deferred_endpoints import DeferredEndpoints
from .endpoints import Lookup, Own
from .entry import Journal
from .http.server import Limits, Server
from .http.websocket import Tunneler
from .metering.complete import completer, pricer
from .settings import Settings
from .stages.accept import accept
from .stages.announce import Announce
from .stages.authenticate import authenticate
from .stages.batch import Batch
from .stages.cache import Cache
from .stages.forward import Forward, Route
from .stages.limit import limit
from .stages.record import Record
from .stages.resolve import Resolve
from .stages.schedule import schedule
from .stages.understand import understand
from .stages.watch import Watch


@dataclass(slots=True)
class App:
    """One worker's parts, put together. Made inside the running loop."""

    server: Server
    record: Record
    forward: Forward
    spool: SpoolWriter
    claims: Claims
    cache: Cache | None
    queue: Queue | None
    batch: Batch | None
    announce: Announce | None

    def begin_draining(self) -> None:
        """Connections are closed with their replies from now on, and nobody is held for one any longer."""
        self.server.drain()
        if self.batch is not None:
            self.batch.release()

    def tick(self) -> None:
        """What is due, about once a second."""
        self.spool.tick()
        if self.cache is not None:
            self.cache.tick()

    async def aclose(self) -> None:
        """Let go of the upstreams, let what was kept reach the disk, then close the spool: all sealed is in it."""
        await self.forward.aclose()
        if self.batch is not None:
            await self.batch.aclose()
        if self.queue is not None:
            await self.queue.aclose()
        if self.cache is not None:
            await self.cache.aclose()
        if self.announce is not None:
            self.announce.close()
        self.spool.close()


def build(
    settings: Settings, spool: SpoolWriter, lookup: Lookup, *, monotonic: Callable[[], float] = time.monotonic
) -> App:
    """Wire a worker from settings whose secrets are resolved."""
    journal = _journal(settings, spool, monotonic)
    key_id = KeyRing.of(settings.server.keys).key_id if settings.server.keys else None
    forward = Forward(
        [Route.of(upstream) for upstream in settings.upstreams],
        Tunneler(message_bytes_max=settings.server.parsed_body_bytes_max),
    )
    record = Record(
        journal, on_disconnect=settings.server.on_disconnect, drain_timeout_s=settings.server.drain_timeout_s
    )
    folder = Path(settings.server.data_dir) / "cache"
    tiers = tiers_of(settings.cache, folder) if settings.cache.enabled else None
    cache = Cache(settings.cache, tiers, forward.choose, semantic=index_of(settings.cache, folder)) if tiers else None
    queue = Queue(settings) if settings.batch.enabled else None
    deferring = Deferring(settings, queue) if queue else None
    batch = Batch(settings.batch, deferring, Waiting(deferring.queue.ended), ask_flex) if deferring else None
    schedules = Schedules(settings.batch, lambda exchange: forward.choose(exchange).batch)
    announce = _announcement(settings, forward)
    stages: list[Stage] = [
        record,
        *([authenticate(key_id)] if key_id else []),
        limit(settings.server.concurrent_max, lambda: server.open - (batch.held if batch else 0)),
        understand(settings.server.parsed_body_bytes_max),
        *([Resolve(settings.models)] if settings.models else []),
        *([schedule(schedules, batch.later)] if batch else []),
        accept(journal.accept),
        *([cache] if cache else []),
        *([batch] if batch else []),
        *_emulation(settings, queue, forward),
        *_watching(settings, queue),
        *([announce] if announce else []),
    ]
    own = Own(
        journal=journal,
        lookup=lookup,
        key_id=key_id,
        new_id=lambda: new_request_id(time.time_ns()),
        cache=_cache_endpoints(settings, tiers) if tiers else None,
        ready=lambda: "shutting down" if server.draining else "" if spool.directory else "the spool cannot be written",
        deferred=DeferredEndpoints(deferring, batch.delivered, batch.retry_after_s) if deferring and batch else None,
    )
    server = Server(
        compose(stages, forward),
        own,
        Limits(header_bytes_max=settings.server.header_bytes_max, body_bytes_max=settings.server.body_bytes_max),
        monotonic=monotonic,
    )
    return App(server, record, forward, spool, journal.claims, cache=cache, queue=queue, batch=batch, announce=announce)


def _journal(settings: Settings, spool: SpoolWriter, monotonic: Callable[[], float]) -> Journal:
    return Journal(
        spool=spool,
        monotonic=monotonic,
        price=pricer(settings),
        complete=completer(settings, exact=False),
        content=settings.record.content,
        capture_bytes_max=settings.record.capture_bytes_max,
        claims=Claims(Path(settings.server.data_dir) / "background"),
    )


def _cache_endpoints(settings: Settings, tiers: Tiers) -> CacheEndpoints:
    key_id = KeyRing.of(settings.cache.keys).key_id if settings.cache.keys else None
    return CacheEndpoints(tiers=tiers, key_id=key_id, is_open=not settings.server.keys)


def _emulation(settings: Settings, queue: Queue | None, forward: Forward) -> list[Stage]:
    if queue is None or all(upstream.batch != "local" for upstream in settings.upstreams):
        return []
    from .stages.emulate import emulate  # with it comes SQLAlchemy, which other workers do without

    return [emulate(settings, queue, forward.choose)]


def _announcement(settings: Settings, forward: Forward) -> Announce | None:
    """Needed where Penstock itself runs batches."""
    local = [upstream.name for upstream in settings.upstreams if upstream.batch == "local"]
    if not local or not settings.batch.enabled:
        return None
    data_dir = Path(settings.server.data_dir)
    return Announce({name: Load.open(data_dir, name) for name in local}, forward.choose)


def _watching(settings: Settings, queue: Queue | None) -> list[Stage]:
    watched = any(upstream.batch == "provider" for upstream in settings.upstreams)
    return [Watch(settings, queue)] if queue and watched and settings.batch.record_own else []
