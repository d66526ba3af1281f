"""Changes to a request body that leave every other byte of it as the caller wrote it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from .document import Unreadable, read

_ASK: Final = b'"include_usage":true'
_MODEL: Final = b'"model"'
_ESCAPED_LETTER: Final = b"\\u006"
"""Of those in `model`: with it a key may be spelled otherwise."""
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_FIRST_KEY = re.compile(rb'[ \t\r\n]*([}"])')
_VALUE = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")


class _Options(msgspec.Struct):
    stream_options: Any = msgspec.UNSET


class _CacheKey(msgspec.Struct):
    prompt_cache_key: Any = msgspec.UNSET


class _Tier(msgspec.Struct):
    service_tier: Any = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Options)
_key_decoder = msgspec.json.Decoder(_CacheKey)
_tier_decoder = msgspec.json.Decoder(_Tier)


def ask_for_usage(body: bytes) -> bytes | None:
    """`body` with `stream_options.include_usage` set to true, as an insertion or by replacing one literal.

    None when there is nothing to ask (it is true already) or it cannot be done safely: the body is not a JSON object,
    names `stream_options` or `include_usage` twice, or gives them a value that is neither null nor of their type.
    `body` is the JSON text itself, without a content coding.
    """
    try:
        options = _decoder.decode(body).stream_options
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if options is msgspec.UNSET:
        return _insert(body, body.index(b"{"), b'"stream_options":{' + _ASK + b"}")
    span = _member(body, body.index(b"{"), "stream_options")
    if span is None:
        return None
    start, end = span
    if options is None:
        return body[:start] + b"{" + _ASK + b"}" + body[end:]
    if not isinstance(options, dict):
        return None
    if "include_usage" not in options:
        return _insert(body, start, _ASK)
    if options["include_usage"] is not None and options["include_usage"] is not False:
        return None
    span = _member(body, start, "include_usage")
    return None if span is None else body[: span[0]] + b"true" + body[span[1] :]


def fill_prompt_cache_key(body: bytes, key: str) -> bytes | None:
    """`body` with `key` as its `prompt_cache_key`, as an insertion or in place of a null.

    None when it has one of its own, or cannot be changed safely: it is not a JSON object, or names the field twice.
    `key` needs no escaping; `body` is the JSON text itself, without a content coding.
    """
    try:
        own = _key_decoder.decode(body).prompt_cache_key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if own is not None and own is not msgspec.UNSET:
        return None
    return _with_text(body, "prompt_cache_key", key, absent=own is msgspec.UNSET)


def set_service_tier(body: bytes, tier: str) -> bytes | None:
    """`body` with `tier` as its `service_tier`, as an insertion or in place of its own text or null.

    None when it cannot be done safely: the body is not a JSON object, names the field twice, or has it as anything but
    text or null. `tier` needs no escaping; `body` is the JSON text itself, without a content coding.
    """
    try:
        own = _tier_decoder.decode(body).service_tier
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not (own is None or own is msgspec.UNSET or isinstance(own, str)):
        return None
    return _with_text(body, "service_tier", tier, absent=own is msgspec.UNSET)


def set_model(body: bytes, model: str) -> bytes | None:
    """`body`, a JSON object whose `model` is a text, with `model` in its place.

    None when it stands there twice. `body` is the JSON text itself, without a content coding.
    """
    value = msgspec.json.encode(model)
    at = body.find(_MODEL)
    if at >= 0 and body.find(_MODEL, at + 1) < 0 and _ESCAPED_LETTER not in body:
        # Nearly always: it can only be this one, and a long body need not be looked through text by text.
        colon = _VALUE.match(body, at + len(_MODEL))
        if colon is not None:
            return body[: colon.end()] + value + body[_value_end(body, colon.end()) :]
    span = _member(body, body.index(b"{"), "model")
    return None if span is None else body[: span[0]] + value + body[span[1] :]


def replace_member(body: bytes, name: str, old: msgspec.Raw, new: bytes) -> bytes | None:
    """`body`, a JSON object, with `new` where `old` is the value of `name`; None when `name` stands there twice."""
    span = _member(body, body.index(b"{"), name)
    return None if span is None else body[: span[0]] + new + body[span[0] + len(bytes(old)) :]


def _with_text(body: bytes, name: str, text: str, *, absent: bool) -> bytes | None:
    """`text`, which needs no escaping, as the member `name`; None when that stands there twice."""
    value = b'"%s"' % text.encode("ascii")
    brace = body.index(b"{")
    if absent:
        return _insert(body, brace, b'"%s":' % name.encode() + value)
    span = _member(body, brace, name)
    return None if span is None else body[: span[0]] + value + body[span[1] :]


def _insert(body: bytes, brace: int, member: bytes) -> bytes:
    """`member` becomes the first of the object whose brace opens at `brace`."""
    first = _FIRST_KEY.match(body, brace + 1)
    comma = b"" if first is None or first[1] == b"}" else b","
    return body[: brace + 1] + member + comma + body[brace + 1 :]


def _member(body: bytes, brace: int, name: str) -> tuple[int, int] | None:
    """Where the value of `name` stands in the object that opens at `brace`; None unless it is there exactly once.

    `body` is known to be well-formed, so only strings and brackets need to be told apart.
    """
    depth = 0
    spans: list[tuple[int, int]] = []
    value_at = -1
    for token in _TOKEN.finditer(body, brace):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                break
        elif depth == 1:
            colon = _VALUE.match(body, token.end())
            if colon is not None and _is_key(mark, name):
                value_at = colon.end()
                spans.append((value_at, _value_end(body, value_at)))
    return spans[0] if len(spans) == 1 else None


def _is_key(mark: bytes, name: str) -> bool:
    if b"\\" not in mark:
        return mark[1:-1] == name.encode()
    try:
        return bool(read(mark) == name)
    except Unreadable:
        return False


def _value_end(body: bytes, start: int) -> int:
    """Past a literal or a text; for an object only its beginning matters to those who ask."""
    for literal in (b"null", b"false"):
        if body.startswith(literal, start):
            return start + len(literal)
    if body.startswith(b'"', start) and (text := _TOKEN.match(body, start)) is not None:
        return text.end()
    return start
