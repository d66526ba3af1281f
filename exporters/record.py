"""`CallRecord`: all that is known about one exchange, and the marks that surround it in the spool.

A record is made in two steps. The worker fills identity, timing, outcome and the captured bytes, because those are
free; the recorder fills what costs time (messages, token classes, prices), through the `Complete` function it is given.
Every field names the one who writes it: [w] worker, [r] recorder, [w|r] the worker when it already knows.

The structs are encoded as MessagePack arrays. New fields are only ever added at the end and with a default, so that a
record written by an older version is readable; `version` rises when a field changes its meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

VERSION: Final = 1

Outcome = Literal["answered", "cached", "rejected", "failed", "abandoned", "cut", "interrupted"]
"""How an exchange ended.

answered: the upstream's whole reply was handed on, whatever its status. cached: answered without the upstream.
rejected: refused by Penstock (bad key, bad request, over a limit). failed: the upstream gave no reply (unreachable,
timed out). abandoned: the caller left before the end. cut: the upstream broke off mid-reply. interrupted: the worker
was killed while the exchange was open.
"""

UsageSource = Literal["", "upstream", "estimated"]

REUSED: Final = frozenset({"hit", "semantic", "coalesced"})
"""Cache statuses of calls that were answered without the upstream."""


class Attempt(msgspec.Struct, array_like=True, kw_only=True):
    """One try at an upstream; becomes a child span. Written by the stage that reaches the upstream [w]."""

    span_id: str
    upstream: str
    address: str
    port: int
    start_ns: int
    end_ns: int = 0
    status: int = 0
    error_type: str = ""


class CallRecord(msgspec.Struct, array_like=True, kw_only=True):
    """One exchange. Times are Unix nanoseconds, sizes bytes, money US dollars; None means not known."""

    # Identity [w]. Ids are lower-case hex as in W3C Trace Context: 32 digits for a trace, 16 for a span.
    request_id: str
    trace_id: str
    span_id: str
    parent_span_id: str = ""
    trace_state: str = ""

    # Timing [w]. first_token_ns: the first byte of a reply body that carries content; 0 when there was none.
    start_ns: int
    first_token_ns: int = 0
    end_ns: int

    # The call [w]. path is what the caller asked for, without the query (which may carry secrets).
    method: str
    path: str
    endpoint: str = "other"
    """chat, completions, responses, embeddings, moderations or other."""
    provider: str = ""
    upstream: str = ""
    request_model: str = ""
    stream: bool = False
    status: int = 0
    """What the caller was sent; 0 when nothing was."""
    outcome: Outcome
    error_type: str = ""
    error_message: str = ""
    request_bytes: int = 0
    response_bytes: int = 0

    # Whose it is [w].
    key_id: str = ""
    user: str = ""
    session: str = ""
    tags: dict[str, str] = {}
    prompt_name: str = ""
    prompt_version: str = ""

    # What was captured [w]; None when capture is off, or after `complete` has read it. Encodings are content codings.
    content: Literal["full", "redacted", "off"] = "full"
    request_body: bytes | None = None
    response_body: bytes | None = None
    request_type: str = ""
    response_type: str = ""
    request_encoding: str = ""
    response_encoding: str = ""
    truncated: bool = False
    """The captured bytes stop before the body did (over the capture limit)."""
    response_headers: dict[str, str] = {}
    """Those of the upstream's that matter afterwards: request id, processing time, rate limits. Lower-case names."""

    # Understood [w|r]. Messages are JSON text in the shape of the OpenTelemetry GenAI conventions.
    input_messages: str | None = None
    output_messages: str | None = None
    system_instructions: str | None = None
    tool_definitions: str | None = None
    parameters: dict[str, Any] = {}
    """Sampling parameters as the caller sent them (temperature, top_p, max_tokens, seed, n, stop, ...)."""
    response_id: str = ""
    response_model: str = ""
    finish_reasons: list[str] = []
    system_fingerprint: str = ""
    service_tier_requested: str = ""
    service_tier: str = ""
    """The tier of the reply, which is the one that is billed."""

    # Usage [w|r], tokens, of the reply, whoever paid for it. input includes cached and cache_write; output includes
    # reasoning.
    usage_source: UsageSource = ""
    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None

    # Cost [w|r], USD. cost is the sum of the classes; None when the price is not known, never 0 for that.
    cost: float | None = None
    cost_input: float | None = None
    cost_cached: float | None = None
    cost_cache_write: float | None = None
    cost_output: float | None = None
    savings: dict[str, float] = {}
    """USD saved, by strategy: response_cache, coalescing, provider_cache, flex, batch, smaller_model, pruning."""

    cache_status: str = ""
    """hit, semantic, coalesced, miss or bypass; "" when the response cache had nothing to do with it [w]."""
    batch_id: str = ""
    attempts: list[Attempt] = []
    version: int = VERSION

    kind: Literal["call", "deferral", "batch"] = "call"
    """What the span stands for. call: an exchange, or a line of a batch, which is one that was put off. deferral: an
    exchange whose answer is made by an item of the queue, with a record of its own below this one. batch: a batch,
    whose lines link to it. The last two buy nothing and are no generations."""
    item_id: str = ""
    """The item of the queue, in the record of its deferral and in that of its answer."""
    links: list[tuple[str, str]] = []
    """Trace and span ids of spans that this one has to do with: the batch of a line."""

    alias: str = ""
    """What the caller asked for, where that stands for several models; `request_model` is then the one chosen [w]."""
    variant: str = ""
    """The name of that choice [w]."""
    pruned: str = ""
    """What the caller said and that choice was not asked: text cut off by rule [w]; "" once it was counted [r]."""
    pruned_tokens: int = 0
    """Of that text, by tiktoken [r]."""

    @property
    def reused(self) -> bool:
        """Nothing was bought for this call, however it ended: its usage is that of the reply it was given."""
        return self.cache_status in REUSED or self.outcome == "cached"


class Begin(msgspec.Struct, array_like=True, kw_only=True):
    """The mark of an accepted exchange, enough to record it as `interrupted` if its worker is killed."""

    request_id: str
    trace_id: str
    span_id: str
    parent_span_id: str = ""
    start_ns: int
    method: str
    path: str
    endpoint: str = "other"
    request_model: str = ""
    stream: bool = False
    key_id: str = ""
    user: str = ""
    session: str = ""
    tags: dict[str, str] = {}
    kind: Literal["call", "deferral"] = "call"
    """A deferral is answered, and counted, by its item, which outlives the worker."""
    alias: str = ""
    variant: str = ""

    def interrupted(self, at_ns: int) -> CallRecord:
        """The record of an exchange whose worker was killed and was found dead at `at_ns`."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return CallRecord(
            **fields,
            end_ns=max(at_ns, self.start_ns),
            outcome="interrupted",
            error_type="worker_killed",
            content="off",
        )


class Feedback(msgspec.Struct, array_like=True, kw_only=True):
    """What somebody thought of a reply, or what an evaluation made of it. Either id names the exchange."""

    id: str
    at_ns: int
    request_id: str = ""
    response_id: str = ""
    name: str = "score"
    score: float | None = None
    label: str = ""
    comment: str = ""
    correction: str | None = None
    """JSON text: the messages that should have been the answer."""
    key_id: str = ""
    user: str = ""
    kind: Literal["feedback", "evaluation"] = "feedback"
    """evaluation: a `gen_ai.evaluation.result`, whose `comment` is its explanation."""
    run: str = ""
    """The evaluation that it is part of."""


Complete = Callable[[CallRecord], CallRecord]
"""Fills the [r] fields of a record. Never raises: what it cannot understand stays empty. Same input, same output."""

_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(kind) for kind in (CallRecord, Begin, Feedback)}


def encode(item: CallRecord | Begin | Feedback) -> bytes:
    return _encoder.encode(item)


def decode_record(data: bytes) -> CallRecord:
    """Raises `msgspec.DecodeError` (or its subclass `ValidationError`) when `data` is not a record."""
    return _decoders[CallRecord].decode(data)  # type: ignore[return-value]


def decode_begin(data: bytes) -> Begin:
    return _decoders[Begin].decode(data)  # type: ignore[return-value]


def decode_feedback(data: bytes) -> Feedback:
    return _decoders[Feedback].decode(data)  # type: ignore[return-value]
