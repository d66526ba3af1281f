"""Whose call it is and what it is part of: OpenAI's own fields first, then baggage, then `x-penstock-*` headers."""

from __future__ import annotations

from typing import Any

from exporters.trace_context import parse_baggage

from .exchange import Exchange
from .openai.call import Call

TAGS_MAX = 64
VALUE_CHARS_MAX = 512
TAGS_CHARS_MAX = 8192
_NO_CALL = Call()
_NOTHING: dict[str, str] = {}
_SESSION_KEYS = ("session_id", "session", "conversation_id", "thread_id")


def identify(exchange: Exchange) -> None:
    """Fill `user`, `session`, `tags`, `prompt_name` and `prompt_version` from the parsed copy and the headers."""
    call = exchange.call or _NO_CALL
    fields = exchange.fields
    tags = call.labels() if call.metadata is not None else {}
    baggage = fields.get(b"baggage")
    carried = parse_baggage(baggage.decode("latin-1")) if baggage else _NOTHING
    exchange.user = (
        _label(call.safety_identifier)
        or _label(call.user)
        or _label(tags.get("user_id"))
        or _label(carried.get("user.id"))
        or _text(fields.get(b"x-penstock-user"))
    )
    exchange.session = (
        (_session(tags) if tags else "")
        or _label(_conversation(call.conversation))
        or _label(carried.get("session.id"))
        or _text(fields.get(b"x-penstock-session"))
        or _label(call.prompt_cache_key)
    )
    if b"x-penstock-prompt" in fields or "prompt_name" in tags or call.prompt is not None:
        _identify_prompt(exchange, call, tags)
    if b"x-penstock-tags" in fields:
        tags = read_tags(_text(fields[b"x-penstock-tags"], TAGS_CHARS_MAX)) | tags
    exchange.tags = tags if len(tags) <= TAGS_MAX else dict(list(tags.items())[:TAGS_MAX])


def _identify_prompt(exchange: Exchange, call: Call, tags: dict[str, str]) -> None:
    name, _, version = _text(exchange.fields.get(b"x-penstock-prompt")).partition("@")
    prompt = call.prompt if isinstance(call.prompt, dict) else _NOTHING
    exchange.prompt_name = _label(prompt.get("id")) or _label(tags.get("prompt_name")) or name
    exchange.prompt_version = _label(prompt.get("version")) or _label(tags.get("prompt_version")) or version


def read_tags(text: str) -> dict[str, str]:
    """`a=b,c=d`; a name alone is a tag with the value "true". What has no name is left out."""
    tags = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if name := name.strip():
            tags[name[:64]] = value.strip()[:VALUE_CHARS_MAX] if equals else "true"
    return tags


def _label(value: Any) -> str:
    return value[:VALUE_CHARS_MAX] if value is not None and isinstance(value, str) else ""


def _session(tags: dict[str, str]) -> str:
    return next((_label(tags[key]) for key in _SESSION_KEYS if tags.get(key)), "")


def _conversation(value: Any) -> Any:
    """The Responses API takes a conversation's id or an object with it."""
    return value.get("id") if isinstance(value, dict) else value


def _text(value: bytes | None, chars_max: int = VALUE_CHARS_MAX) -> str:
    return value.decode("utf-8", "replace")[:chars_max] if value else ""
