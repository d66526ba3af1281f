"""The record of one exchange while it is being made: what is known is gathered, then sealed into the spool once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from exporters.record import REUSED, Begin, CallRecord, Complete, Feedback, Outcome

from .background import Claims
from .errors import PenstockError
from .exchange import Exchange
from .openai.usage import Usage, counts_tokens
from .reply import RawHeaders

_KEPT_HEADERS = frozenset(
    {b"x-request-id", b"openai-processing-ms", b"openai-organization", b"retry-after", b"x-should-retry"}
)
_WORDED_PARAMETERS = ("stop", "response_format", "text", "web_search_options", "chat_template_kwargs")
"""Request parameters in which callers write words of their own."""
_NANOSECONDS = 1_000_000_000


class Spool(Protocol):
    """Where finished records go; never raises, never waits (exporters.spool.SpoolWriter)."""

    def begin(self, begin: Begin) -> object: ...
    def append(self, record: CallRecord) -> object: ...
    def feedback(self, feedback: Feedback) -> bool: ...


RECENT_MAX = 100
"""Sealed records that a worker remembers, so that a caller can ask for its call at once. Few, as they would otherwise
be the worker's whole memory; the store has the others within two seconds."""


class Recent(OrderedDict[str, CallRecord]):
    """The last records of this worker by request id, without their text."""

    def add(self, record: CallRecord) -> None:
        self[record.request_id] = record
        if len(self) > RECENT_MAX:
            self.popitem(last=False)


class Facts(Protocol):
    """What a meter, or a look at a whole reply, found out."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def service_tier(self) -> str: ...
    @property
    def response_id(self) -> str: ...
    @property
    def response_model(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Journal:
    """What all entries of a worker share."""

    spool: Spool
    monotonic: Callable[[], float]
    price: Complete
    """Fills the cost of a record whose usage is known."""
    complete: Complete
    """All that the recorder would fill; used here when the text must not reach the spool as it is."""
    content: Literal["full", "redacted", "off"]
    capture_bytes_max: int
    claims: Claims
    recent: Recent = field(default_factory=Recent)

    def accept(self, exchange: Exchange) -> None:
        """Mark the exchange as accepted: from now on it is recorded even if this process is killed."""
        call, deferral = exchange.call, exchange.deferral
        exchange.accepted = True
        self.spool.begin(
            Begin(
                request_id=exchange.request_id,
                trace_id=exchange.trace_id,
                span_id=exchange.span_id,
                parent_span_id=exchange.parent_span_id,
                start_ns=exchange.start_ns,
                method=exchange.method,
                path=exchange.path,
                endpoint=exchange.endpoint,
                request_model=call.model if call else "",
                stream=bool(call and call.stream),
                key_id=exchange.key_id,
                user=exchange.user,
                session=exchange.session,
                tags=exchange.tags,
                kind="call" if deferral is None or deferral.mode == "flex" else "deferral",
                alias=exchange.alias,
                variant=exchange.variant,
            )
        )


class Entry:
    """One exchange's record in the making. Sealed exactly once; whoever comes second changes nothing."""

    __slots__ = (
        "_captured",
        "_captured_bytes",
        "exchange",
        "facts",
        "first_token_s",
        "journal",
        "left",
        "record",
        "response_bytes",
        "response_encoding",
        "response_headers",
        "response_type",
        "status",
        "stored_in_background",
        "truncated",
        "upstream_error",
    )

    def __init__(self, journal: Journal, exchange: Exchange) -> None:
        self.journal = journal
        self.exchange = exchange
        self.record: CallRecord | None = None
        """The sealed record, with its cost; None while the exchange is open."""
        self.facts: Facts | None = None
        self.status = 0
        self.response_headers: dict[str, str] = {}
        self.response_type = ""
        self.response_encoding = ""
        """The content coding of the reply; what is captured is decoded already."""
        self.response_bytes = 0
        self.first_token_s = 0.0
        self.truncated = False
        self.upstream_error = ("", "")
        """Type and message of the error that the upstream answered with: not every body is kept for the recorder."""
        self.stored_in_background = False
        """The call reads a stored response that was made in the background."""
        self.left = False
        """The caller is gone; whatever still comes is for the record alone."""
        self._captured: list[bytes] = []
        self._captured_bytes = 0

    def answered_with(self, status: int, headers: RawHeaders) -> None:
        """Note the head of the reply."""
        self.status = status
        for name, value in headers:
            name = name.lower()
            if name == b"content-type":
                self.response_type = value.decode("latin-1")
            elif name == b"content-encoding":
                self.response_encoding = value.decode("latin-1")
            elif name in _KEPT_HEADERS or name.startswith(b"x-ratelimit-"):
                self.response_headers[name.decode("latin-1")] = value.decode("latin-1")

    def first_token(self) -> None:
        """Note that the first byte of content is about to be handed on."""
        if not self.first_token_s:
            self.first_token_s = self.journal.monotonic()

    def capture(self, piece: bytes) -> None:
        """Keep `piece` of the reply's decoded body, up to the capture limit; nothing of bodies that are not parsed, nor
        of those that the record of an item keeps."""
        if self.exchange.endpoint in ("other", "embeddings") or self.exchange.item_id:
            return
        room = self.journal.capture_bytes_max - self._captured_bytes
        if len(piece) > room:
            self.truncated = True
            piece = piece[:room]
        if piece:
            self._captured.append(piece)
            self._captured_bytes += len(piece)

    def seal(self, outcome: Outcome, error: PenstockError | None = None, error_type: str = "") -> CallRecord:
        """Write the record to the spool; the first call decides."""
        if self.record is None:
            if self.left and outcome != "interrupted":
                outcome, error, error_type = "abandoned", None, "client_disconnected"
            exchange = self.exchange
            if not exchange.accepted:
                self.journal.accept(exchange)
            if exchange.cache_status:
                if exchange.settle is not None:
                    exchange.settle(exchange, abandoned=outcome in ("abandoned", "interrupted"))
                if outcome == "answered" and exchange.cache_status in REUSED:
                    outcome = "cached"
            record = self._build(outcome, error, error_type)
            if record.input_tokens is not None or record.output_tokens is not None:
                record = self.journal.price(record)
            if self.journal.content != "full":
                record = self._without_text(record)
            self.record = record
            self._captured.clear()
            self.journal.spool.append(record)
            _forget_text(record)
            self.journal.recent.add(record)
        return self.record

    def _build(self, outcome: Outcome, error: PenstockError | None, error_type: str) -> CallRecord:
        exchange = self.exchange
        now_s = self.journal.monotonic()
        record = CallRecord(
            request_id=exchange.request_id,
            trace_id=exchange.trace_id,
            span_id=exchange.span_id,
            parent_span_id=exchange.parent_span_id,
            trace_state=exchange.trace_state,
            start_ns=exchange.start_ns,
            first_token_ns=self._unix_ns(self.first_token_s) if self.first_token_s else 0,
            end_ns=self._unix_ns(now_s),
            method=exchange.method,
            path=exchange.path,
            endpoint=exchange.endpoint,
            provider=exchange.provider,
            upstream=exchange.upstream,
            status=self.status,
            outcome=outcome,
            error_type=error.code if error else error_type or self.upstream_error[0],
            error_message=error.message if error else self.upstream_error[1],
            request_bytes=exchange.body.received,
            response_bytes=self.response_bytes,
            key_id=exchange.key_id,
            user=exchange.user,
            session=exchange.session,
            tags=exchange.tags,
            prompt_name=exchange.prompt_name,
            prompt_version=exchange.prompt_version,
            content=self.journal.content,
            response_headers=self.response_headers,
            response_type=self.response_type,
            attempts=exchange.attempts,
            cache_status=exchange.cache_status,
            batch_id=exchange.batch_id,
            links=exchange.links,
            alias=exchange.alias,
            variant=exchange.variant,
            pruned=exchange.pruned,
        )
        call = exchange.call
        if call is not None:
            record.request_model = call.model
            record.stream = bool(call.stream)
        if exchange.item_id:
            # What was asked, answered and paid for is in the record that the item gets.
            record.kind, record.item_id = "deferral", exchange.item_id
            return record
        self._attach_bodies(record)
        if self.facts is not None:
            self._fill(record, self.facts)
        return record

    def _fill(self, record: CallRecord, facts: Facts) -> None:
        record.service_tier = facts.service_tier
        record.response_id = facts.response_id
        record.response_model = facts.response_model
        if self._is_background():
            # Counted with the first record that has it; marked in all, so that nobody estimates what is counted there.
            record.usage_source = "upstream"
            if facts.usage is not None and self.journal.claims.claim(facts.response_id):
                _set_usage(record, facts.usage)
        elif facts.usage is not None and (self.status == 101 or counts_tokens(record.method, record.path)):
            record.usage_source = "upstream"
            _set_usage(record, facts.usage)

    def _is_background(self) -> bool:
        call = self.exchange.call
        if self.exchange.endpoint == "responses":
            return call is not None and call.background is True
        return self.stored_in_background

    def _attach_bodies(self, record: CallRecord) -> None:
        asked = self.exchange.asked
        data = self.exchange.body.data if asked is None else asked
        if self.exchange.endpoint == "other" or not data:
            return
        limit = self.journal.capture_bytes_max
        record.request_body = data if len(data) <= limit else data[:limit]
        record.request_type = _text(self.exchange.header(b"content-type"))
        record.request_encoding = _text(self.exchange.header(b"content-encoding"))
        record.truncated = self.truncated or len(data) > limit
        if self._captured:
            record.response_body = self._captured[0] if len(self._captured) == 1 else b"".join(self._captured)

    def _without_text(self, record: CallRecord) -> CallRecord:
        """The record as the recorder would complete it, less the text that must not be stored."""
        if self.journal.content == "redacted":
            return self.journal.complete(record)
        record.content = "full"  # missing counts are made from the text, which is then thrown away
        record = self.journal.complete(record)
        record.content = "off"
        _forget_text(record)
        record.error_message = ""
        for name in _WORDED_PARAMETERS:
            record.parameters.pop(name, None)
        return record

    def _unix_ns(self, moment_s: float) -> int:
        return self.exchange.start_ns + int((moment_s - self.exchange.started_s) * _NANOSECONDS)


def _forget_text(record: CallRecord) -> None:
    record.request_body = record.response_body = None
    record.input_messages = record.output_messages = None
    record.system_instructions = record.tool_definitions = None
    record.pruned = ""


def _set_usage(record: CallRecord, usage: Usage) -> None:
    (
        record.input_tokens,
        record.cached_tokens,
        record.cache_write_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.input_audio_tokens,
        record.output_audio_tokens,
        record.input_image_tokens,
    ) = usage


def _text(value: bytes | None) -> str:
    return value.decode("latin-1") if value else ""
