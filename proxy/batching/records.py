"""The records of what was put off: of an item and its answer, of a line of a caller's own batch, of a batch.

They are made by the code that records live calls, so that nothing is understood in two ways. All ids are made of those
in the queue: the same item gives the same span, however often its record is made.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Row

from exporters.record import Attempt, Begin, CallRecord, Feedback, Outcome

from ..background import Claims
from ..entry import Entry, Journal
from ..errors import ClientFault
from ..exchange import Exchange, RequestBody
from ..identity import identify
from ..metered import told, whole
from ..metering.complete import completer, pricer
from ..openai.call import Call, read_call
from ..reply import RawHeaders, Reply, header
from ..settings import Settings
from .item import BATCHABLE, Answer, Context, decode_context

_JSON: Final = (b"content-type", b"application/json")
_NO_ONE: Final = Context(request_id="", trace_id="", span_id="", start_ns=0)
_ENDED: Final[dict[str, Outcome]] = {"failed": "failed", "expired": "cut", "cancelled": "abandoned"}
"""Of a batch, by its status; every other one is answered."""


class Span(NamedTuple):
    """What a link points to."""

    trace_id: str
    span_id: str


class Ids(NamedTuple):
    """Of a record that has no exchange of its own."""

    request_id: str
    trace_id: str
    span_id: str


def ids_of(name: str, at_ns: int) -> Ids:
    """Always the same for one name and time; the request id begins with its time, as those of exchanges do."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    request_id = f"{at_ns // 1_000_000 & 0xFFFFFFFFFFFF:012x}7{digits[:3]}8{digits[3:18]}"
    # All zeros are no id in a trace; the hash has them as rarely as anything else, but an id that is none is refused.
    return Ids(request_id, digits[:31] + "1", digits[32:47] + "1")


def batch_span(row: Row[Any]) -> Span:
    """The span that stands for a batch (a row of `batches`), before and after its record is made.

    A batch that somebody made by a call is in the trace of this call; one that Penstock gathered has its own.
    """
    own = ids_of(f"batch {row.id}", row.created_ns)
    context = _context(row.context) if row.kind != "provider" else _NO_ONE
    return Span(context.trace_id or own.trace_id, own.span_id)


def answer_headers(record: CallRecord) -> RawHeaders:
    """`x-penstock-tokens` and `x-penstock-cost-usd`, as far as both are known: for the `Answer`."""
    return told(record)


class ItemRecords:
    """Makes records, priced, and without the text that `record.content` keeps out."""

    def __init__(self, settings: Settings, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._journal = Journal(
            spool=_Caught(),
            monotonic=lambda: 0.0,
            price=pricer(settings),
            complete=completer(settings, exact=False),
            content=settings.record.content,
            capture_bytes_max=settings.record.capture_bytes_max,
            claims=Claims(Path(settings.server.data_dir) / "background"),
        )

    def of_item(
        self,
        row: Row[Any],
        answer: Answer,
        *,
        attempts: Sequence[Attempt] = (),
        batch_id: str = "",
        batch_span: tuple[str, str] | None = None,
        shared: bool = False,
        outcome: Outcome = "answered",
        error_type: str = "",
        taken_ns: int = 0,
    ) -> CallRecord:
        """The record of an item (a row of `items`) that has its answer.

        `batch_id`: the provider's; with it and without `attempts` the usage is billed as batch. `attempts`: how the
        item was asked live. `shared`: it was answered by the line of an identical one, and cost nothing. `outcome`:
        failed when there is no answer, abandoned when its caller cancelled it after it was sent. `taken_ns`: when it
        went into a batch, or was asked; 0: when it came.
        """
        context = _context(row.context)
        own = ids_of(f"item {row.id}", row.created_ns)
        span_id = ids_of(f"item {row.id} {row.attempts}", 0).span_id  # what was asked twice was paid for twice
        exchange = _exchange(row.path, row.body, context, start_ns=taken_ns or row.created_ns, span_id=span_id)
        exchange.call = Call(model=row.model)
        if row.mode == "file":
            # A line of a file that somebody has Penstock run: no exchange of its own, and labels of its own.
            exchange.request_id, exchange.trace_id, exchange.parent_span_id = own.request_id, own.trace_id, ""
            _label_line(exchange, context)
        exchange.upstream = row.upstream
        exchange.provider = context.provider
        exchange.attempts = list(attempts)
        exchange.batch_id = batch_id
        exchange.links = [batch_span] if batch_span else []
        exchange.cache_status = "coalesced" if shared else "miss" if context.keep is not None else ""
        record = self._sealed(exchange, answer, outcome, error_type)
        record.item_id = row.id
        record.stream = bool(row.stream)
        return record

    def of_line(
        self, batch: Row[Any], custom_id: str, body: bytes, answer: Answer, *, error_type: str = ""
    ) -> CallRecord:
        """The record of one line of a batch that its caller made (a row of `batches`). `body`: the line's, as asked."""
        context = _context(batch.context)
        own = ids_of(f"line {batch.id} {custom_id}", batch.created_ns)
        start_ns = batch.in_progress_ns or batch.created_ns
        exchange = _exchange(batch.path, body, context, start_ns=start_ns, span_id=own.span_id)
        exchange.request_id, exchange.trace_id, exchange.parent_span_id = own.request_id, own.trace_id, ""
        _label_line(exchange, context)
        exchange.upstream = batch.upstream
        exchange.provider = context.provider
        exchange.batch_id = batch.provider_id
        exchange.links = [batch_span(batch)]
        record = self._sealed(exchange, answer, "answered" if answer.status else "failed", error_type)
        record.end_ns = max(self._ended_ns(batch), start_ns)
        return record

    def of_batch(self, row: Row[Any]) -> CallRecord:
        """The record of a batch (a row of `batches`) that is over: how long it took, how it ended, how many lines."""
        context = _context(row.context)
        own = ids_of(f"batch {row.id}", row.created_ns)
        mine = context if row.kind != "provider" else _NO_ONE
        span = batch_span(row)
        return CallRecord(
            kind="batch",
            request_id=own.request_id,
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=mine.span_id,
            trace_state=mine.trace_state,
            start_ns=row.created_ns,
            end_ns=max(self._ended_ns(row), row.created_ns),
            method="POST",
            path="/v1/batches",
            provider=context.provider,
            upstream=row.upstream,
            request_model=row.model,
            status=200,
            outcome=_ENDED.get(row.status, "answered"),
            error_type="" if row.status == "completed" else row.status,
            key_id=mine.key_id,
            user=mine.user,
            session=mine.session,
            tags=mine.tags,
            parameters={
                "status": row.status,
                "endpoint": row.path,
                "total": row.total,
                "completed": row.completed,
                "failed": row.failed,
            },
            batch_id=row.provider_id or row.id,
        )

    def _ended_ns(self, batch: Row[Any]) -> int:
        return max(batch.completed_ns, batch.failed_ns, batch.expired_ns, batch.cancelled_ns) or self._clock()

    def _sealed(self, exchange: Exchange, answer: Answer, outcome: Outcome, error_type: str) -> CallRecord:
        caught = _Caught()
        took_s = max(0, self._clock() - exchange.start_ns) / 1e9
        entry = Entry(replace(self._journal, spool=caught, monotonic=lambda: took_s), exchange)
        headers = list(answer.headers)
        if answer.body and header(headers, b"content-type") is None:
            headers.append(_JSON)
        entry.answered_with(answer.status, headers)
        whole(entry, Reply(answer.status, headers), answer.body, outcome, error_type)
        record = caught.record
        record.first_token_ns = 0  # nobody saw the first of its tokens
        return record


class _Caught:
    """Stands where live calls have the spool: what is made here goes there by way of the outbox."""

    record: CallRecord

    def begin(self, begin: Begin) -> None:
        pass

    def append(self, record: CallRecord) -> None:
        self.record = msgspec.structs.replace(record)  # the text of the one given is forgotten when this returns

    def feedback(self, feedback: Feedback) -> bool:
        return False


def _exchange(path: str, body: bytes, context: Context, *, start_ns: int, span_id: str) -> Exchange:
    """The call as if it came now, whole and as JSON."""
    request = RequestBody(None, len(body), len(body))
    request.data, request.received = body, len(body)
    headers = [_JSON]
    return Exchange(
        request_id=context.request_id,
        trace_id=context.trace_id,
        span_id=span_id,
        parent_span_id=context.span_id,
        trace_state=context.trace_state,
        start_ns=start_ns,
        started_s=0.0,
        method="POST",
        path=path,
        query="",
        headers=headers,
        names=[name for name, _ in headers],
        fields=dict(headers),
        body=request,
        endpoint=BATCHABLE.get(path, "other"),
        accepted=True,
        key_id=context.key_id,
        user=context.user,
        session=context.session,
        tags=context.tags,
        prompt_name=context.prompt_name,
        prompt_version=context.prompt_version,
        alias=context.alias,
        variant=context.variant,
        pruned=context.pruned,
    )


def _label_line(exchange: Exchange, context: Context) -> None:
    """What a line says of its user, session and tags comes before what the call that brought the file said."""
    try:
        exchange.call = read_call(exchange.body.data or b"{}")
    except ClientFault:
        exchange.call = exchange.call or Call()
    identify(exchange)
    exchange.user = exchange.user or context.user
    exchange.session = exchange.session or context.session
    exchange.tags = context.tags | exchange.tags
    if not exchange.prompt_name:
        exchange.prompt_name, exchange.prompt_version = context.prompt_name, context.prompt_version


def _context(data: bytes) -> Context:
    """Of a row; that of nobody where there is none."""
    return decode_context(data) if data else _NO_ONE
