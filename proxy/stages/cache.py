"""Answer from what was paid for already: a kept reply, or the call of somebody who asks the same at this moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, cast

import msgspec

from cache.entry import Entry
from cache.tiers import Tiers

from .. import settings
from ..batching.item import Keep
from ..caching.asking import Ask, Asking
from ..caching.control import Control, Controls
from ..caching.flights import Flight, Listener, SharedBody
from ..caching.keeping import Keeper, Similar
from ..caching.serving import asks_for_stream, asks_for_usage, hide_usage, reply_of, serves
from ..chain import Handler
from ..errors import ClientFault
from ..exchange import Exchange
from ..reply import BodyStream, Reply

_AT_ONCE_BYTES_MAX: Final = 512 * 1024


class Stored(msgspec.Struct):
    """A search that ended at a kept reply."""

    entry: Entry
    similarity: float | None


class Fresh(msgspec.Struct):
    """A search that ended at the upstream."""

    reply: Reply
    shared: SharedBody | None
    """None when the body came whole."""


class Cache:
    """The stage. Never the reason why a call fails: a tier that fails is one that holds nothing."""

    def __init__(
        self,
        configured: settings.Cache,
        tiers: Tiers,
        choose: Callable[[Exchange], object],
        *,
        semantic: Similar | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`choose` notes the upstream a call would go to, which its reply depends on."""
        self._settings = configured
        self._tiers = tiers
        self._choose = choose
        self._semantic = semantic
        self._clock = clock
        self._controls = Controls(configured)
        self._asking = Asking(configured.shared_namespaces)
        self._keeper = Keeper(configured.entry_bytes_max, tiers, semantic, clock)
        self._flights: dict[tuple[object, ...], Flight[Stored | Fresh]] = {}

    def __call__(self, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        control = self._controls.of(exchange) if exchange.endpoint != "other" else None
        return inner(exchange) if control is None else self._answered(exchange, inner, control)

    async def _answered(self, exchange: Exchange, inner: Handler, control: Control) -> Reply:
        self._choose(exchange)
        if len(exchange.body.data or b"") <= _AT_ONCE_BYTES_MAX:
            ask = self._asking.ask(exchange, control)
        else:  # To read a long question takes milliseconds, which are the other callers'.
            ask = await asyncio.to_thread(self._asking.ask, exchange, control)
        if ask is None or not (control.serve or control.keep):
            exchange.cache_status = "bypass"
            if control.only_if_cached:
                raise _not_in_cache("its reply is one that is never kept")
            return _marked(await inner(exchange), b"bypass")
        if control.serve:
            entry = self._tiers.peek(ask.key)
            if entry is not None and (reply := self._given(entry, exchange, control)) is not None:
                self._asking.repeated(ask)
                return reply
        exchange.cache_status = "miss"
        if control.only_if_cached:
            stored = await self._stored(ask, exchange)
            reply = None if stored is None else self._given(stored.entry, exchange, control, stored.similarity)
            if reply is None:
                raise _not_in_cache("there is none for this question")
            return reply
        if exchange.deferral is not None and exchange.deferral.mode != "flex":
            return await self._deferred(ask, exchange, inner)
        if control.serve and self._settings.coalesce:
            return await self._together(ask, exchange, inner)
        return await self._alone(ask, exchange, inner)

    def tick(self) -> None:
        """What is due, about once a second."""
        self._tiers.tick()

    async def aclose(self) -> None:
        """Let what was kept reach the lower tiers, as far as a moment allows."""
        await self._keeper.aclose()

    # A kept reply

    def _given(
        self, entry: Entry, exchange: Exchange, control: Control, similarity: float | None = None
    ) -> Reply | None:
        """The reply that `entry` holds; None when it is not for this caller."""
        now_ns = self._clock()
        if not entry.is_fresh(now_ns, control.max_age_s) or not serves(entry, exchange):
            return None
        reply = reply_of(entry, exchange, self._settings.pace_s)
        if reply is None:
            return None
        exchange.cache_status = "hit" if similarity is None else "semantic"
        age_s = max(0, now_ns - entry.created_ns) // 1_000_000_000
        reply.headers += [
            (b"Age", b"%d" % age_s),
            (b"x-penstock-cache", exchange.cache_status.encode()),
            (b"x-penstock-cache-request-id", entry.request_id.encode()),
        ]
        if similarity is not None:
            reply.headers.append((b"x-penstock-cache-similarity", b"%.4f" % similarity))
        return reply

    def _has_more(self, ask: Ask) -> bool:
        """Than what is in the memory of this worker."""
        return self._tiers.has_lower or (self._semantic is not None and ask.control.semantic is not None)

    async def _stored(self, ask: Ask, exchange: Exchange) -> Stored | None:
        """The same question in the tiers below, or one that is similar enough."""
        entry = await self._tiers.get(ask.key)
        if entry is not None and self._is_for(entry, exchange, ask.control):
            return Stored(entry, None)
        if self._semantic is None or ask.control.semantic is None:
            return None
        asked = ask.question.semantic()
        if asked is None:
            return None
        rest, text = asked
        for key, similarity in await self._semantic.find(ask.partition + "\n" + rest, text, ask.control.semantic):
            entry = await self._tiers.get(key)
            if entry is None:
                self._semantic.forget(key)
            elif self._is_for(entry, exchange, ask.control):
                return Stored(entry, similarity)
        return None

    def _is_for(self, entry: Entry, exchange: Exchange, control: Control) -> bool:
        return entry.is_fresh(self._clock(), control.max_age_s) and serves(entry, exchange)

    # The upstream

    def _together(self, ask: Ask, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        """One call for all who ask this now."""
        control, stream = ask.control, asks_for_stream(exchange)
        name = (
            ask.key,
            control.max_age_s,
            control.keep,
            control.semantic,
            stream and asks_for_usage(exchange),
            stream,
            exchange.fields.get(b"accept-encoding"),
        )
        flight = self._flights.get(name)
        if flight is not None:
            return self._followed(flight, ask, exchange, inner)
        flight = self._flights[name] = Flight(exchange, lambda: self._flights.pop(name, None), _discard)
        return self._led(flight, ask, exchange, inner)

    async def _led(self, flight: Flight[Stored | Fresh], ask: Ask, exchange: Exchange, inner: Handler) -> Reply:
        shared = None
        try:
            found: Stored | Fresh | None = await self._stored(ask, exchange) if self._has_more(ask) else None
            if found is None:
                reply = await inner(exchange)
                if isinstance(reply.body, bytes):
                    reply.read = self._keeper.keep(ask, exchange, reply, reply.body, ended=True)
                else:
                    shared = self._shared(ask, exchange, reply, flight.close, lambda: flight.members)
                found = Fresh(reply, shared)
        except BaseException as error:
            flight.failed(error)
            raise
        if shared is None:
            flight.close()
        flight.landed(found)
        if shared is None and isinstance(found, Fresh) and not flight.has_followers:
            exchange.settle = None
            return _marked(found.reply, b"miss")
        return await self._given_to(exchange, found, flight, ask, inner)

    async def _followed(self, flight: Flight[Stored | Fresh], ask: Ask, exchange: Exchange, inner: Handler) -> Reply:
        exchange.cache_status = "coalesced"
        found = await flight.follow(exchange)
        if isinstance(found, Fresh):
            hide_usage(exchange)
        return await self._given_to(exchange, found, flight, ask, inner)

    async def _given_to(
        self, exchange: Exchange, found: Stored | Fresh, flight: Flight[Stored | Fresh], ask: Ask, inner: Handler
    ) -> Reply:
        """What was found, as one of several has it."""
        if isinstance(found, Stored):
            exchange.settle = None
            flight.leave(exchange)
            given = self._given(found.entry, exchange, ask.control, found.similarity)
            return given if given is not None else await self._alone(ask, exchange, inner)
        reply = found.reply
        if found.shared is None:
            flight.leave(exchange)
            body: bytes | BodyStream = cast(bytes, reply.body)
        else:
            body = Listener(found.shared, partial(flight.leave, exchange))
        part = Reply(reply.status, list(reply.headers), body, reply.reason, read=reply.read)
        return _marked(part, exchange.cache_status.encode())

    async def _alone(self, ask: Ask, exchange: Exchange, inner: Handler) -> Reply:
        """Ask the upstream for this caller only; the reply is kept all the same."""
        exchange.cache_status = "miss"
        if ask.control.serve and not self._settings.coalesce:
            stored = await self._stored(ask, exchange)
            if stored is not None and (given := self._given(stored.entry, exchange, ask.control, stored.similarity)):
                return given
        reply = await inner(exchange)
        if isinstance(reply.body, bytes):
            reply.read = self._keeper.keep(ask, exchange, reply, reply.body, ended=True)
        else:
            reply.body = Listener(self._shared(ask, exchange, reply, _nothing, lambda: 1), _nothing)
        return _marked(reply, b"miss")

    async def _deferred(self, ask: Ask, exchange: Exchange, inner: Handler) -> Reply:
        """A kept reply saves the wait. What else is answered is kept by the dispatcher, and shared in the queue."""
        stored = await self._stored(ask, exchange) if ask.control.serve else None
        if stored is not None and (given := self._given(stored.entry, exchange, ask.control, stored.similarity)):
            return given
        exchange.keep = Keep(ask.key, ask.control.namespace, ask.control.ttl_s)
        return _marked(await inner(exchange), b"miss")

    def _shared(
        self, ask: Ask, exchange: Exchange, reply: Reply, close: Callable[[], object], members: Callable[[], int]
    ) -> SharedBody:
        def keep(body: bytes, *, ended: bool) -> None:
            self._keeper.keep(ask, exchange, reply, body, ended=ended)

        return SharedBody(
            cast(BodyStream, reply.body),
            keep,
            keep_bytes_max=self._settings.entry_bytes_max,
            close=close,
            members=members,
        )


def _marked(reply: Reply, status: bytes) -> Reply:
    reply.headers.append((b"x-penstock-cache", status))
    return reply


def _not_in_cache(why: str) -> ClientFault:
    return ClientFault(
        f"The call may only be answered from the cache (only-if-cached), and {why}. Leave it out to ask the upstream.",
        code="not_in_cache",
        param="cache-control",
        status=504,
    )


def _discard(found: Stored | Fresh) -> None:
    if isinstance(found, Fresh) and found.shared is not None:
        found.shared.abandon()


def _nothing() -> None: ...
