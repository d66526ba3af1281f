"""Usage out of what is not a whole reply: the end of a long one, and single messages of a WebSocket session."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from .usage import Usage, read_usage

_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_FINISHED = frozenset({"response.done", "response.completed", "response.incomplete", "response.failed"})


@dataclass(slots=True)
class Found:
    usage: Usage | None = None
    service_tier: str = ""
    response_id: str = ""
    response_model: str = ""


def tail_facts(tail: bytes) -> Found | None:
    """The last `usage` object in the end of a JSON document; None when there is none that is whole."""
    for match in reversed(list(_USAGE.finditer(tail))):
        text = tail[match.end() :].decode("utf-8", "replace")
        try:
            value, _ = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            continue
        usage = read_usage(value)
        if usage is not None:
            return Found(usage=usage)
    return None


def event_facts(message: bytes, before: Usage | None) -> Found | None:
    """What an event that finishes a response says, its usage added to `before`; None for any other message."""
    try:
        event = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(event, dict) or _text(event.get("type")) not in _FINISHED:
        return None
    response = event.get("response")
    if not isinstance(response, dict):
        return None
    usage = read_usage(response.get("usage"))
    return Found(
        usage=_sum(before, usage) if before and usage else usage or before,
        service_tier=_text(response.get("service_tier")),
        response_id=_text(response.get("id")),
        response_model=_text(response.get("model")),
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(*(a if b is None else b if a is None else a + b for a, b in zip(one, other, strict=True)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
