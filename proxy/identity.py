"""Whose call it is and what it is part of: OpenAI's own fields first, then baggage, then `x-penstock-*` headers."""

from __future__ import annotations

from typing import Any

from exporters.trace_context import parse_baggage

from .exchange import Exchange
from .openai.call import Call

TAGS_MAX = 64
VALUE_CHARS_MAX = 512
_NO_CALL = Call()
_HEADERS = frozenset({b"baggage", b"x-penstock-user", b"x-penstock-session", b"x-penstock-prompt", b"x-penstock-tags"})
_SESSION_KEYS = ("session_id", "session", "conversation_id", "thread_id")


def identify(exchange: Exchange) -> None:
    """Fill `user`, `session`, `tags`, `prompt_name` and `prompt_version` from the parsed copy and the headers."""
    call = exchange.call or _NO_CALL
    tags = call.labels() if call.metadata is not None else {}
    if not tags and exchange.fields.keys().isdisjoint(_HEADERS):
        # The common call says who it is for, or nothing at all.
        exchange.user = _first(call.safety_identifier, call.user)
        if call.conversation is not None or call.prompt_cache_key is not None:
            exchange.session = _first(_conversation(call.conversation), call.prompt_cache_key)
        if call.prompt.__class__ is not dict:
            return
    baggage = exchange.header(b"baggage")
    carried = parse_baggage(baggage.decode("latin-1")) if baggage else {}
    exchange.user = _first(
        call.safety_identifier,
        call.user,
        tags.get("user_id"),
        carried.get("user.id"),
        _text(exchange, b"x-penstock-user"),
    )
    exchange.session = _first(
        *([tags.get(key) for key in _SESSION_KEYS] if tags else ()),
        _conversation(call.conversation),
        carried.get("session.id"),
        _text(exchange, b"x-penstock-session"),
        call.prompt_cache_key,
    )
    prompt = call.prompt if isinstance(call.prompt, dict) else {}
    name, _, version = _text(exchange, b"x-penstock-prompt").partition("@")
    exchange.prompt_name = _first(prompt.get("id"), tags.get("prompt_name"), name)
    exchange.prompt_version = _first(prompt.get("version"), tags.get("prompt_version"), version)
    header_tags = _text(exchange, b"x-penstock-tags")
    if header_tags:
        tags = read_tags(header_tags) | tags
    if len(tags) > TAGS_MAX:
        tags = dict(list(tags.items())[:TAGS_MAX])
    exchange.tags = tags


def read_tags(text: str) -> dict[str, str]:
    """`a=b,c=d`; a name alone is a tag with the value "true". What has no name is left out."""
    tags = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if name := name.strip():
            tags[name[:64]] = value.strip()[:VALUE_CHARS_MAX] if equals else "true"
    return tags


def _first(*candidates: Any) -> str:
    for candidate in candidates:
        if isinstance(candidate, str) and candidate:
            return candidate[:VALUE_CHARS_MAX]
    return ""


def _conversation(value: Any) -> Any:
    """The Responses API takes a conversation's id or an object with it."""
    return value.get("id") if isinstance(value, dict) else value


def _text(exchange: Exchange, name: bytes) -> str:
    value = exchange.header(name)
    return value.decode("utf-8", "replace") if value else ""
