"""The few facts of a whole JSON reply that are worth knowing at once: its usage, identity, tier, endings and error."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from .call import Endpoint
from .document import read_object
from .usage import TOKENS_MAX, Usage, read_usage

TEXT_MAX: Final = 256
"""Characters of an id, a model name or an error code that are kept."""
MESSAGE_MAX: Final = 2000
_TAIL_FROM: Final = 16 * 1024

_SECRET = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|pk|rk|gsk|xai|key|nvapi|hf)[-_][\w*.-]{6,}|AIza[\w*-]{8,})")


class Facts(NamedTuple):
    """Empty or None where the reply does not say, or says something of another type."""

    usage: Usage | None = None
    service_tier: str = ""
    """The tier that is billed."""
    response_id: str = ""
    response_model: str = ""
    finish_reasons: tuple[str, ...] = ()
    """One for each choice in order, in chat's words also for responses."""
    system_fingerprint: str = ""
    error_type: str = ""
    """The code of an OpenAI error envelope, or else its type."""
    error_message: str = ""
    """May quote what the caller sent. Keys in it are blanked."""


class Read(msgspec.Struct, frozen=True):
    """A whole JSON reply that was looked at."""

    text: bytes
    """The body without its content coding."""
    facts: Facts


class _Choice(msgspec.Struct):
    index: Any = None
    finish_reason: Any = None


class _Item(msgspec.Struct):
    type: Any = None


class _Reply(msgspec.Struct):
    """The same names as in the JSON, so that a decoded object and this struct are read alike."""

    id: Any = None
    model: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    usage: Any = None
    choices: list[_Choice] | None = None
    status: Any = None
    incomplete_details: Any = None
    output: list[_Item] | None = None
    error: Any = None
    detail: Any = None
    message: Any = None


_decode = msgspec.json.Decoder(_Reply).decode

_Count = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]


class _InputDetails(msgspec.Struct):
    cached_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    image_tokens: _Count | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: _Count | None = None
    audio_tokens: _Count | None = None


class _OrdinaryUsage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: int
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Object(msgspec.Struct):
    """Any JSON object."""


class _OrdinaryChoice(msgspec.Struct):
    message: _Object
    finish_reason: Annotated[str, msgspec.Meta(min_length=1)]


class _OrdinaryReply(msgspec.Struct):
    """A chat completion exactly as OpenAI sends it: decoded into its types at once, in half the time."""

    id: str
    model: str
    choices: Annotated[list[_OrdinaryChoice], msgspec.Meta(min_length=1)]
    usage: _OrdinaryUsage
    service_tier: str | None = None
    system_fingerprint: str | None = None
    error: None = None
    detail: None = None
    message: None = None


_decode_ordinary = msgspec.json.Decoder(_OrdinaryReply).decode
_NOTHING_GIVEN, _NOTHING_SPENT = _InputDetails(), _OutputDetails()


def unary_facts(endpoint: Endpoint, body: bytes) -> Facts:
    """The facts of a reply that is one JSON object (decoded, without a content coding). Never raises.

    Of a large embeddings reply only the end is read: the numbers come after the vectors.
    """
    facts = ordinary_facts(body) if endpoint == "chat" else None
    return unusual_facts(endpoint, body) if facts is None else facts


def unusual_facts(endpoint: Endpoint, body: bytes) -> Facts:
    """`unary_facts` of a reply that has no `ordinary_facts`."""
    if endpoint == "embeddings" and len(body) > _TAIL_FROM and (facts := _after_vectors(body)) is not None:
        return facts
    try:
        reply = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return facts_of(read_object(body))
    choices = reply.choices or ()
    return Facts(
        read_usage(reply.usage),
        text(reply.service_tier),
        text(reply.id),
        text(reply.model),
        tuple([reason for c in choices if (reason := text(c.finish_reason))])
        or _ending(reply.status, reply.incomplete_details, [item.type for item in reply.output or ()]),
        text(reply.system_fingerprint),
        *_error(reply.error, reply.detail, reply.message),
    )


def ordinary_facts(body: bytes) -> Facts | None:
    """The facts of a chat completion that is in no way unusual: it has choices, each with a message and an ending, its
    usage, and no error. None for all others, which are read with more patience.
    """
    try:
        reply = _decode_ordinary(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usage = reply.usage
    spent = usage.completion_tokens_details or _NOTHING_SPENT
    if usage.total_tokens != usage.prompt_tokens + usage.completion_tokens:
        return None
    given = usage.prompt_tokens_details or _NOTHING_GIVEN
    return Facts(
        Usage(
            usage.prompt_tokens,
            given.cached_tokens,
            given.cache_write_tokens,
            usage.completion_tokens,
            spent.reasoning_tokens,
            given.audio_tokens,
            spent.audio_tokens,
            given.image_tokens,
        ),
        (reply.service_tier or "")[:TEXT_MAX],
        reply.id[:TEXT_MAX],
        reply.model[:TEXT_MAX],
        tuple([choice.finish_reason[:TEXT_MAX] for choice in reply.choices]),
        (reply.system_fingerprint or "")[:TEXT_MAX],
    )


def facts_of(reply: dict[str, Any], *, with_usage: bool = True) -> Facts:
    """The same of a reply that is decoded already, or was assembled from a stream.

    Without usage where it is known: looking through all the shapes it may have is a third of the work.
    """
    if not reply:
        return Facts()
    get = reply.get
    return Facts(
        read_usage(get("usage")) if with_usage else None,
        text(get("service_tier")),
        text(get("id")),
        text(get("model")),
        tuple([reason for c in objects(get("choices")) if (reason := text(c.get("finish_reason")))])
        or finish_of_response(reply),
        text(get("system_fingerprint")),
        *_error(get("error"), get("detail"), get("message")),
    )


def finish_of_response(reply: dict[str, Any]) -> tuple[str, ...]:
    """How a response (of the Responses API) ended, in chat's words; empty when it has not, or is not one."""
    types = [item.get("type") for item in objects(reply.get("output"))]
    return _ending(reply.get("status"), reply.get("incomplete_details"), types)


def text(value: Any) -> str:
    """`value` when it is text, cut to `TEXT_MAX`; "" otherwise."""
    return value[:TEXT_MAX] if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects among the elements of `value`, which is expected to be an array of them."""
    return [element for element in value if isinstance(element, dict)] if isinstance(value, list) else []


def _ending(status: Any, incomplete: Any, types: list[Any]) -> tuple[str, ...]:
    if status == "completed":
        if not types:
            return ()
        return ("tool_calls",) if "function_call" in types or "custom_tool_call" in types else ("stop",)
    if status == "incomplete":
        reason = text(incomplete.get("reason")) if isinstance(incomplete, dict) else ""
        return ("length" if reason in ("max_output_tokens", "") else reason,)
    return ("error",) if status == "failed" else ()


def _error(error: Any, detail: Any, message: Any) -> tuple[str, str]:
    """OpenAI's envelope; and a bare text, or the envelopes of servers built on FastAPI, as far as they are text."""
    if error is None and detail is None and message is None:
        return "", ""
    if isinstance(error, dict):
        kind = text(error.get("code")) or text(error.get("type"))
        return kind, _blanked(error.get("message"))
    for candidate in (error, detail, message):
        if isinstance(candidate, str):
            return "", _blanked(candidate)
    return "", ""


def _blanked(message: Any) -> str:
    return _SECRET.sub("…", message[:MESSAGE_MAX]) if isinstance(message, str) else ""


def _after_vectors(body: bytes) -> Facts | None:
    end = body.rfind(b"]")
    rest = body[end + 1 :].lstrip(b" \t\r\n,")
    if end < 0 or not rest.startswith(b'"'):
        return None
    facts = facts_of(read_object(b"{" + rest))
    return facts if facts.usage is not None else None
