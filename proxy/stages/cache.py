"""Answer from what was paid for already: a kept reply, or the call of somebody who asks the same at this moment."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, NamedTuple, Protocol, cast

from cache.entry import Entry
from cache.key import Question, scope
from cache.tiers import Tiers

from .. import settings
from ..caching.control import Control, control_of
from ..caching.flights import Flight, Listener, SharedBody
from ..caching.serving import (
    asks_for_stream,
    asks_for_usage,
    headers_to_keep,
    hide_usage,
    plain,
    reply_of,
    serves,
)
from ..chain import Handler
from ..errors import ClientFault
from ..exchange import Exchange
from ..openai.coding import decode
from ..openai.replay import complete
from ..reply import BodyStream, RawHeaders, Reply

_log = logging.getLogger(__name__)

_DRAIN_S: Final = 2.0
_TURNS_MAX: Final = 10_000
"""Questions with variants whose turn is remembered."""
_CREDENTIALS: Final = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")
_MEANING: Final = (b"openai-beta", b"anthropic-beta", b"anthropic-version")
"""Request headers that change what an upstream does."""


class Similar(Protocol):
    """Finds questions that were asked in other words. Never raises."""

    async def find(self, partition: str, text: str, threshold: float) -> list[tuple[str, float]]:
        """Keys of replies and how like their questions are, the likest first."""

    def remember(self, partition: str, text: str, key: str) -> None: ...

    def forget(self, key: str) -> None:
        """The reply of `key` is gone."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Ask:
    """A call that takes part, and under which name its reply is kept."""

    control: Control
    question: Question
    key: str
    partition: str
    """Where replies to similar questions are looked for."""


class Stored(NamedTuple):
    """A search that ended at a kept reply."""

    entry: Entry
    similarity: float | None


class Fresh(NamedTuple):
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
        self._shared_namespaces = frozenset(configured.shared_namespaces)
        self._flights: dict[tuple[object, ...], Flight[Stored | Fresh]] = {}
        self._turns: OrderedDict[str, int] = OrderedDict()

    def __call__(self, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        control = control_of(exchange, self._settings) if exchange.endpoint != "other" else None
        return inner(exchange) if control is None else self._answered(exchange, inner, control)

    async def _answered(self, exchange: Exchange, inner: Handler, control: Control) -> Reply:
        self._choose(exchange)
        ask = self._understood(exchange, control)
        if ask is None or not (control.serve or control.keep):
            exchange.cache_status = "bypass"
            if control.only_if_cached:
                raise _not_in_cache("its reply is one that is never kept")
            return _marked(await inner(exchange), b"bypass")
        if control.serve:
            entry = self._tiers.peek(ask.key)
            if entry is not None and (reply := self._given(entry, exchange, control)) is not None:
                return reply
        exchange.cache_status = "miss"
        if control.only_if_cached:
            stored = await self._stored(ask, exchange)
            reply = None if stored is None else self._given(stored.entry, exchange, control, stored.similarity)
            if reply is None:
                raise _not_in_cache("there is none for this question")
            return reply
        if control.serve and self._settings.coalesce:
            return await self._together(ask, exchange, inner)
        return await self._alone(ask, exchange, inner)

    def tick(self) -> None:
        """What is due, about once a second."""
        self._tiers.tick()

    async def aclose(self) -> None:
        """Let what was kept reach the lower tiers, as far as a moment allows."""
        if self._semantic is not None:
            await self._semantic.aclose()
        await self._tiers.drain(_DRAIN_S)
        await self._tiers.aclose()

    # What is asked

    def _understood(self, exchange: Exchange, control: Control) -> _Ask | None:
        """None for a call whose reply must not be given to anybody else."""
        body = exchange.body.data or b""
        if (coding := exchange.header(b"content-encoding")) is not None:
            decoded = decode(body, coding.decode("latin-1"))
            if decoded is None or decoded.broken or decoded.truncated:
                return None
            body = decoded.data
        shared = control.namespace in self._shared_namespaces
        question = Question.read(exchange.endpoint, body, shared=shared)
        if question is None or (question.obstacle and not control.force):
            return None
        fields = exchange.fields
        whose = _scope(
            key_id=exchange.key_id,
            authorization=b"\n".join([fields[name] for name in _CREDENTIALS if name in fields]) or None,
            organization=fields.get(b"openai-organization"),
            project=fields.get(b"openai-project"),
            namespace=control.namespace,
            shared=shared,
        )
        query = "\n".join([exchange.query, *(fields[name].decode("latin-1") for name in _MEANING if name in fields)])
        key = question.key(scope=whose, upstream=exchange.upstream, provider=exchange.provider, query=query)
        return _Ask(
            control,
            question,
            self._in_turn(key, control.variants) if control.variants > 1 else key,
            f"{whose}\n{exchange.upstream}\n{query}",
        )

    def _in_turn(self, key: str, variants: int) -> str:
        turn = self._turns.pop(key, 0)
        self._turns[key] = turn + 1
        if len(self._turns) > _TURNS_MAX:
            self._turns.popitem(last=False)
        number = turn % variants
        return f"{key}-{number}" if number else key

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

    async def _stored(self, ask: _Ask, exchange: Exchange) -> Stored | None:
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

    async def _together(self, ask: _Ask, exchange: Exchange, inner: Handler) -> Reply:
        """One call for all who ask this now."""
        name = (
            ask.key,
            ask.control,
            asks_for_stream(exchange),
            asks_for_usage(exchange),
            exchange.header(b"accept-encoding"),
        )
        flight = self._flights.get(name)
        joins = flight is not None
        if flight is None:
            close = partial(self._flights.pop, name, None)
            flight = Flight(partial(self._search, ask, exchange, inner, close), exchange, _discard)
            self._flights[name] = flight
        else:
            exchange.cache_status = "coalesced"
        found = await flight.found(exchange)
        if isinstance(found, Stored):
            exchange.settle = None
            flight.leave(exchange)
            given = self._given(found.entry, exchange, ask.control, found.similarity)
            return given if given is not None else await self._alone(ask, exchange, inner)
        if joins:
            hide_usage(exchange)
        reply = found.reply
        if found.shared is None:
            flight.leave(exchange)
            body: bytes | BodyStream = cast(bytes, reply.body)
        else:
            body = Listener(found.shared, partial(flight.leave, exchange))
        return _marked(Reply(reply.status, list(reply.headers), body, reply.reason), exchange.cache_status.encode())

    async def _search(
        self,
        ask: _Ask,
        exchange: Exchange,
        inner: Handler,
        close: Callable[[], object],
        flight: Flight[Stored | Fresh],
    ) -> Stored | Fresh:
        shared = None
        try:
            stored = await self._stored(ask, exchange)
            if stored is not None:
                return stored
            reply = await inner(exchange)
            if not isinstance(reply.body, bytes):
                shared = self._shared(ask, exchange, reply, close, lambda: flight.members)
            else:
                self._keep(ask, exchange, reply.status, reply.headers, reply.body, ended=True)
            return Fresh(reply, shared)
        finally:
            if shared is None:
                close()

    async def _alone(self, ask: _Ask, exchange: Exchange, inner: Handler) -> Reply:
        """Ask the upstream for this caller only; the reply is kept all the same."""
        exchange.cache_status = "miss"
        if ask.control.serve and not self._settings.coalesce:
            stored = await self._stored(ask, exchange)
            if stored is not None and (given := self._given(stored.entry, exchange, ask.control, stored.similarity)):
                return given
        reply = await inner(exchange)
        if isinstance(reply.body, bytes):
            self._keep(ask, exchange, reply.status, reply.headers, reply.body, ended=True)
        else:
            reply.body = Listener(self._shared(ask, exchange, reply, _nothing, lambda: 1), _nothing)
        return _marked(reply, b"miss")

    def _shared(
        self, ask: _Ask, exchange: Exchange, reply: Reply, close: Callable[[], object], members: Callable[[], int]
    ) -> SharedBody:
        def keep(body: bytes, *, ended: bool) -> None:
            self._keep(ask, exchange, reply.status, reply.headers, body, ended=ended)

        return SharedBody(
            cast(BodyStream, reply.body),
            keep,
            keep_bytes_max=self._settings.entry_bytes_max,
            close=close,
            members=members,
        )

    def _keep(
        self, ask: _Ask, exchange: Exchange, status: int, headers: RawHeaders, body: bytes, *, ended: bool
    ) -> None:
        """Keep a reply that is whole. Never raises: the caller has it already."""
        if not ask.control.keep or not 200 <= status < 300 or not (ended or asks_for_stream(exchange)):
            return
        try:
            self._put(ask, exchange, headers, body)
        except Exception:  # noqa: BLE001 - whatever it is, the call itself went well
            _log.exception("a reply could not be kept")

    def _put(self, ask: _Ask, exchange: Exchange, headers: RawHeaders, body: bytes) -> None:
        data = plain(body, headers, self._settings.entry_bytes_max)
        stream = asks_for_stream(exchange)
        if data is None or not complete(exchange.endpoint, data, stream=stream):
            return
        now_ns, ttl_s = self._clock(), ask.control.ttl_s
        entry = Entry(
            request_id=exchange.request_id,
            created_ns=now_ns,
            expires_ns=now_ns + int(ttl_s * 1e9) if ttl_s else 0,
            endpoint=exchange.endpoint,
            upstream=exchange.upstream,
            provider=exchange.provider,
            model=exchange.call.model if exchange.call is not None else "",
            namespace=ask.control.namespace,
            stream=stream,
            has_usage=exchange.usage_asked or asks_for_usage(exchange) or not stream,
            headers=headers_to_keep(headers),
            body=data,
        )
        self._tiers.put(ask.key, entry)
        if self._semantic is not None and ask.control.semantic is not None and (asked := ask.question.semantic()):
            rest, text = asked
            self._semantic.remember(ask.partition + "\n" + rest, text, ask.key)


_scope = lru_cache(maxsize=1024)(scope)


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
