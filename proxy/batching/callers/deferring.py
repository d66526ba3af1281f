"""From an exchange to an item of the queue, and what a caller is told when the queue does not take it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from ...errors import ClientFault, Overload
from ...exchange import Exchange
from ...http.headers import CREDENTIALS, MEANING
from ...openai.coding import plain
from ...reply import RawHeaders
from ...settings import Settings, Upstream
from ..item import Answer, Context, Found, Mode, NewItem, encode_context
from ..queue import Added, Queue
from ..refusal import KeyReused, QueueFull, QueueUnavailable
from .control import Deferral
from .lot import Whom, lot_of, question_of, rejoin_by_body, rejoin_by_key, scope_of

if TYPE_CHECKING:  # SQLAlchemy is imported by a worker only when there is something to queue.
    from sqlalchemy import Connection

KEY_CHARS_MAX: Final = 255
"""Of an Idempotency-Key."""
UNAVAILABLE_RETRY_S: Final = 5
FULL_RETRY_S: Final = 30
_WHOSE: Final = (b"openai-organization", b"openai-project")
"""Request headers that say for whom; with a credential they are a part of it."""
_STREAMING: Final = ("stream", "stream_options")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Prepared(NamedTuple):
    """An item that is ready for the queue, and the credential that the upstream will want."""

    item: NewItem
    credential: bytes | None


class Deferring:
    """Puts calls into the queue."""

    def __init__(self, settings: Settings, queue: Queue) -> None:
        self.queue = queue
        self._settings = settings
        self._upstreams = {upstream.name: upstream for upstream in settings.upstreams}
        self._sealing: Any = None
        self._records: Any = None

    async def prepare(self, exchange: Exchange, deferral: Deferral) -> Prepared:
        """Raises `ClientFault`. The upstream was chosen already."""
        if self._sealing is None:
            self._sealing = await asyncio.to_thread(_import_sealing)
        scope = scope_of(exchange)
        credential = self._credential(self._upstreams[exchange.upstream], exchange)
        credential_id = str(self._sealing.credential_id(credential))
        headers = context_headers(exchange, with_whose=not credential)
        body = line_body(exchange)
        mode = cast(Mode, deferral.mode)
        whom = Whom(exchange.upstream, credential_id, exchange.path, headers)
        question = question_of(whom, scope=scope, body=body)
        key = _idempotency_key(exchange)
        rejoin = rejoin_by_key(scope, key) if key else rejoin_by_body(question) if mode == "hold" else ""
        call = exchange.call
        assert call is not None
        item = NewItem(
            id=f"dfr_{exchange.request_id}",
            mode=mode,
            scope=scope,
            upstream=exchange.upstream,
            credential=credential_id,
            endpoint=exchange.endpoint,
            path=exchange.path,
            model=call.model,
            body=body,
            stream=call.stream is True,
            include_usage=call.asks_for_usage,
            # Who names calls apart wants an answer to each.
            question="" if key else question,
            rejoin=rejoin,
            rejoin_by_key=bool(key),
            deadline_ns=deferral.deadline_ns,
            created_ns=exchange.start_ns,
            lot=lot_of(whom, model=call.model, wait_ns=deferral.deadline_ns - exchange.start_ns),
            webhook=deferral.webhook,
            context=encode_context(context_of(exchange, headers)),
        )
        return Prepared(item, credential or None)

    async def add(self, exchange: Exchange, prepared: Prepared) -> Added:
        """Durable when it returns. Raises `ClientFault`, `Overload`."""
        # Before it is there: whoever leaves meanwhile has left an item, as far as anybody knows.
        exchange.item_id = prepared.item.id
        try:
            with told_to_callers():
                added = await self.queue.add(prepared.item, prepared.credential)
        except Exception:
            exchange.item_id = ""
            raise
        exchange.item_id = added.id
        exchange.body.data = b""  # It may be held for hours, and is in the queue.
        return added

    async def add_answered(self, exchange: Exchange, prepared: Prepared, answer: Answer) -> Added:
        """An item whose answer is known already, from the cache. Raises `ClientFault`, `Overload`."""
        cache_status = exchange.cache_status
        added = await self.add(exchange, prepared)
        if not added.joined:
            with told_to_callers():
                await self.queue.run(lambda connection: self._answer(connection, added.id, answer, cache_status))
        return added

    async def find(self, item_id: str, scope: str) -> Found | None:
        """Raises `Overload`."""
        with told_to_callers():
            return await self.queue.find(item_id, scope)

    async def cancel(self, item_id: str, scope: str) -> Found | None:
        """Raises `Overload`."""
        with told_to_callers():
            return await self.queue.cancel(item_id, scope)

    def _credential(self, upstream: Upstream, exchange: Exchange) -> bytes:
        return bytes(self._sealing.encode_credential(credential_headers(upstream, exchange)))

    def _answer(self, connection: Connection, item_id: str, answer: Answer, cache_status: str) -> None:
        """In the thread of the queue: what must not be imported by a worker that queues nothing is imported here."""
        from .cached import answer_from_cache

        if self._records is None:
            from ..records import ItemRecords

            self._records = ItemRecords(self._settings)
        answer_from_cache(
            connection, item_id, answer, cache_status, records=self._records, keep_s=self._settings.batch.keep_s
        )


@contextmanager
def told_to_callers() -> Iterator[None]:
    """Translate what the queue raises. Raises `ClientFault` and `Overload` instead."""
    try:
        yield
    except KeyReused as error:
        raise ClientFault(
            "This Idempotency-Key came with another call before. Send each call with a key of its own.",
            code="idempotency_key_reused",
            param="idempotency-key",
            status=422,
        ) from error
    except QueueFull as error:
        raise Overload(
            "As many calls wait as may. Retry later, send the call without x-penstock-batch, or raise "
            "batch.queue_items_max or batch.queue_bytes_max.",
            code="batch_queue_full",
            retry_after_s=FULL_RETRY_S,
        ) from error
    except QueueUnavailable as error:
        raise Overload(
            "The queue of calls that may wait cannot be asked now. Retry shortly, or send the call without "
            "x-penstock-batch.",
            code="batch_queue_unavailable",
            retry_after_s=UNAVAILABLE_RETRY_S,
        ) from error


def line_body(exchange: Exchange) -> bytes:
    """The caller's JSON without what asks for a stream, on one line, as a batch has it. Values stay as they were
    written. Raises `ClientFault`."""
    body = plain(exchange.body.data or b"", exchange.header(b"content-encoding"))
    try:
        members = _members.decode(body or b"")
        for name in _STREAMING:
            members.pop(name, None)
        return msgspec.json.format(msgspec.json.encode(members), indent=-1)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ClientFault("The request body is not valid JSON.", code="invalid_json") from error


def credential_headers(upstream: Upstream, exchange: Exchange) -> RawHeaders:
    """Where to find what the upstream is to know the caller by; none where it knows Penstock, or nobody."""
    if upstream.api_key:
        return []
    ours = (b"authorization",) if exchange.caller_authorization_is_ours else ()
    headers = [field for field in exchange.headers if field[0].lower() not in ours]
    return headers if any(name.lower() in CREDENTIALS for name, _ in headers) else []


def _idempotency_key(exchange: Exchange) -> bytes:
    key = exchange.header(b"idempotency-key")
    if key is None:
        return b""
    if not 0 < len(key) <= KEY_CHARS_MAX:
        raise ClientFault(
            f"Idempotency-Key takes 1 to {KEY_CHARS_MAX} characters.",
            code="invalid_idempotency_key",
            param="idempotency-key",
        )
    return key


def context_headers(exchange: Exchange, *, with_whose: bool) -> RawHeaders:
    """What of the exchange's headers goes with an item. `with_whose`: it has no credential that says it."""
    names: Sequence[bytes] = (*MEANING, *_WHOSE) if with_whose else MEANING
    return [(name, exchange.fields[name]) for name in names if name in exchange.fields]


def context_of(exchange: Exchange, headers: RawHeaders) -> Context:
    """What the record of an item says of the exchange that brought it. `headers`: see `context_headers`."""
    return Context(
        request_id=exchange.request_id,
        trace_id=exchange.trace_id,
        span_id=exchange.span_id,
        trace_state=exchange.trace_state,
        start_ns=exchange.start_ns,
        provider=exchange.provider,
        key_id=exchange.key_id,
        user=exchange.user,
        session=exchange.session,
        tags=exchange.tags,
        prompt_name=exchange.prompt_name,
        prompt_version=exchange.prompt_version,
        headers=headers,
        keep=exchange.keep,
        alias=exchange.alias,
        variant=exchange.variant,
        pruned=exchange.pruned,
    )


def _import_sealing() -> Any:
    from .. import sealing

    return sealing
