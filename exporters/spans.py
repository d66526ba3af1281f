"""A record as a span: name, kind, attributes and status by the OpenTelemetry GenAI semantic conventions.

Pure mapping without the OpenTelemetry libraries, because every sink goes through it for every record: the ClickHouse
sink writes the attributes as they are, `readable.py` wraps them for OTLP. One exchange is one span of kind CLIENT,
named `{operation} {request model}`; each try at an upstream is a child of it. An attribute whose value is not known is
absent, never empty. Sources: the semantic conventions of OpenTelemetry for GenAI (spans, openai) and for HTTP clients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from .attributes import CONTENT, FIELDS
from .record import Attempt, CallRecord
from .request_attributes import request_attributes

Content = Literal["full", "redacted", "off"]
Attribute = str | bool | int | float | list[str]
Attributes = dict[str, Attribute]

SCOPE_NAME: Final = "penstock"
SPAN_KIND: Final = "Client"
"""Of the exchange and of its attempts, spelled as the OpenTelemetry Collector writes it to ClickHouse."""

OPERATIONS: Final = {
    "chat": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "moderations": "moderation",
}
"""`gen_ai.operation.name` by endpoint. The conventions have no word for moderations and allow one of our own."""

API_TYPES: Final = {"chat": "chat_completions", "responses": "responses"}
"""`openai.api.type`, for the endpoints that the conventions name."""

_NULLABLE: Final = tuple(f for f in FIELDS if f.type.startswith("Nullable"))
_PLAIN: Final = tuple(f for f in FIELDS if not f.type.startswith("Nullable") and f.attribute not in CONTENT)
_CONTENT: Final = tuple(f for f in FIELDS if f.attribute in CONTENT)

# One call of a many-named attrgetter reads all the fields in C; that is most of this module's speed.
_plain_values: Final = attrgetter(*(f.record for f in _PLAIN))
_plain_names: Final = tuple(f.attribute for f in _PLAIN)
_nullable_values: Final = attrgetter(*(f.record for f in _NULLABLE))
_nullable_names: Final = tuple(f.attribute for f in _NULLABLE)
_content_values: Final = attrgetter(*(f.record for f in _CONTENT))
_content_names: Final = tuple(f.attribute for f in _CONTENT)

_BROKEN: Final = frozenset({"failed", "cut", "interrupted", "rejected"})


class SpanStatus(NamedTuple):
    """`code` as the Collector writes it to ClickHouse; `message` is empty unless the code is Error."""

    code: Literal["Unset", "Error"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class AttemptSpan:
    """The child span of one try at an upstream. Times are Unix nanoseconds, ids lower-case hex."""

    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    status: SpanStatus


def operation(record: CallRecord) -> str:
    """`gen_ai.operation.name`; "" for endpoints that are not parsed, and for what is no call of a model."""
    return OPERATIONS.get(record.endpoint, "") if record.kind == "call" else ""


def span_name(record: CallRecord) -> str:
    """`{operation} {request model}`; `{METHOD} {path template}` for endpoints that are not parsed and for a call that
    is put off; `batch {model}` for a batch."""
    if record.kind == "batch":
        return f"batch {record.request_model}" if record.request_model else "batch"
    name = operation(record)
    if not name:
        return f"{record.method} {path_template(record.path)}"
    return f"{name} {record.request_model}" if record.request_model else name


def span_attributes(record: CallRecord, *, content: Content = "full") -> Attributes:
    """All attributes of the exchange's span, by the table in `attributes.py`.

    Spans of kind deferral and batch have no `penstock.request.id` and no `gen_ai.operation.name`: those two make a row
    of `generations`.

    `content` is the most that may appear of the caller's text. "redacted" shows what `Redactor.redact_record` has been
    through; a record that it has not seen shows no text at all, so that a forgotten call cannot leak.
    """
    found = unchecked_attributes(record, content=content)
    try:
        "".join([*found, *(value for value in found.values() if value.__class__ is str)]).encode()
    except UnicodeEncodeError:
        return {_encodable(name): _encodable_value(value) for name, value in found.items()}
    return found


def unchecked_attributes(record: CallRecord, *, content: Content = "full") -> Attributes:
    """The same, for who looks out for lone surrogates himself."""
    plain = _plain_values(record)
    found: Attributes = dict(compress(zip(_plain_names, plain, strict=True), plain))
    for name, value in zip(_nullable_names, _nullable_values(record), strict=True):
        if value is not None:
            found[name] = value
    if content == "full" or (content == "redacted" and record.content == "redacted"):
        for name, value in zip(_content_names, _content_values(record), strict=True):
            if value:
                found[name] = value
    else:
        found["penstock.content"] = "off"
    _add_derived(found, record)
    _add_families(found, record)
    if record.kind != "call":
        _unmake_call(found, record)
    if record.item_id:
        found["penstock.item.id"] = record.item_id
    if record.pruned_tokens:
        found["penstock.pruned.input_tokens"] = record.pruned_tokens
    return found


def _unmake_call(found: Attributes, record: CallRecord) -> None:
    """A span that bought nothing must not look like a generation, here or in any backend: what makes it one goes, or
    gets a name of its own."""
    found["penstock.kind"] = record.kind
    for name in _OF_CALLS:
        found.pop(name, None)
    if record.kind == "deferral":
        found["penstock.deferral.request.id"] = record.request_id
    if record.request_model:
        found[f"penstock.{record.kind}.model"] = record.request_model
    if record.kind == "batch":
        for name, value in record.parameters.items():
            found[f"penstock.batch.{name}"] = value


_OF_CALLS: Final = (
    "penstock.request.id",
    "penstock.request.parameters",
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.response.time_to_first_chunk",
    "openai.api.type",
)


def _encodable(text: str) -> str:
    """A path that is not UTF-8 carries lone surrogates, which no wire format takes."""
    return text.encode("utf-8", "replace").decode()


def _encodable_value(value: Attribute) -> Attribute:
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return _encodable(value) if isinstance(value, str) else value


def _add_derived(found: Attributes, record: CallRecord) -> None:
    if name := OPERATIONS.get(record.endpoint):
        found["gen_ai.operation.name"] = name
    if api := API_TYPES.get(record.endpoint):
        found["openai.api.type"] = api
    if record.stream and record.first_token_ns:
        # The conventions know it for streams only: the first byte of any other reply says nothing about its tokens.
        found["gen_ai.response.time_to_first_chunk"] = max(0, record.first_token_ns - record.start_ns) / 1e9
    if record.attempts:
        last = record.attempts[-1]
        found["penstock.attempts"] = len(record.attempts)
        if last.address:
            found["server.address"] = last.address
            found["server.port"] = last.port
    if not record.error_type and (error := error_type(record)):
        found["error.type"] = error


def _add_families(found: Attributes, record: CallRecord) -> None:
    if record.finish_reasons:
        found["gen_ai.response.finish_reasons"] = record.finish_reasons
    for name, value in record.tags.items():
        found[f"penstock.tag.{name}"] = value
    for name, saved in record.savings.items():
        found[f"penstock.saving.{name}"] = saved
    for name, value in record.response_headers.items():
        found[f"http.response.header.{name}"] = [value]
    if record.parameters:
        found.update(request_attributes(record.parameters))


def error_type(record: CallRecord) -> str:
    """`error.type`: the record's own, else the status code as the HTTP conventions want it; "" for a success."""
    if record.error_type:
        return record.error_type
    if record.status >= 400:
        return str(record.status)
    return record.outcome if record.outcome in _BROKEN else ""


def status(record: CallRecord) -> SpanStatus:
    """Error when the exchange failed or was answered with an error. A caller that left is not an error of the call."""
    if record.status >= 400 or record.outcome in _BROKEN:
        return SpanStatus("Error", record.error_message or error_type(record))
    return _UNSET


_UNSET: Final = SpanStatus("Unset")


def attempt_spans(record: CallRecord) -> list[AttemptSpan]:
    """One child span per try, in order. They carry no `penstock.request.id`: that marks the exchange's own span."""
    return [_attempt_span(record, attempt, number) for number, attempt in enumerate(record.attempts)]


def _attempt_span(record: CallRecord, attempt: Attempt, number: int) -> AttemptSpan:
    found: Attributes = {"http.request.method": record.method, "penstock.attempt": number + 1}
    if attempt.upstream:
        found["penstock.upstream"] = attempt.upstream
    if attempt.address:
        found["server.address"] = attempt.address
        found["server.port"] = attempt.port
    if attempt.status:
        found["http.response.status_code"] = attempt.status
    if number:
        found["http.request.resend_count"] = number
    error = attempt.error_type or (str(attempt.status) if attempt.status >= 400 else "")
    if error:
        found["error.type"] = error
    return AttemptSpan(
        span_id=attempt.span_id,
        parent_span_id=record.span_id,
        name=record.method,
        start_ns=attempt.start_ns,
        end_ns=max(attempt.end_ns or record.end_ns, attempt.start_ns),
        attributes=found,
        status=SpanStatus("Error", error) if error else _UNSET,
    )


_SEGMENTS_MAX: Final = 8
_word = re.compile(r"[a-z_]{1,40}|v[0-9]{1,2}").fullmatch
_identifier = re.compile(r"(?:asst|batch|chatcmpl|cmpl|conv|eval|file|ftckpt|ftjob|msg|resp|run|step|thread|vs)_").match
_NAMED: Final = frozenset({"models", "engines", "deployments"})
"""Collections whose members are called by name, which may look like a word."""


def path_template(path: str) -> str:
    """`path` with its identifiers replaced by `{id}`, so that span names stay few.

    A segment is kept when it is a lower-case word without digits that does not begin like an identifier of OpenAI's.
    """
    before = ""
    kept = []
    for segment in path.split("/")[: _SEGMENTS_MAX + 1]:
        known = segment == "" or (_word(segment) and not _identifier(segment) and before not in _NAMED)
        kept.append(segment if known else "{id}")
        before = segment
    return "/".join(kept) or "/"
