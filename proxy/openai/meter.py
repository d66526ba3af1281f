"""What a worker runs over every piece of a reply: usage, the first token, the end; and the chunk that is to be hidden.

The common chunk (one delta of text) costs a few byte searches; JSON is read only in the events before the first token
and in those that carry numbers or end the stream.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any, Final

import msgspec

from .call import Endpoint
from .facts import Facts, objects, text, unary_facts
from .sse import event_ends
from .usage import Usage, read_usage

__all__ = ["PENDING_BYTES_MAX", "Facts", "StreamMeter", "unary_facts"]

PENDING_BYTES_MAX: Final = 1024 * 1024
"""An event that is not complete after this many bytes is passed on unread."""

_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
_CONTENT: Final = (
    "content",
    "tool_calls",
    "reasoning_content",
    "reasoning",
    "refusal",
    "function_call",
    "audio",
    "reasoning_details",
)
_WHOLE = (b"\n\n", b"\r\n\r\n")
_BLANK = (b"\n", b"\r", b"\r\n")
_BOM = b"\xef\xbb\xbf"
_DATA = re.compile(rb"(?:^|[\r\n])data(?:: ?([^\r\n]*))?(?=[\r\n]|$)")


class _Event(msgspec.Struct):
    """What is read of an event; everything else is skipped. `response` is kept as text, for it may be large."""

    type: Any = None
    id: Any = None
    model: Any = None
    service_tier: Any = None
    choices: Any = None
    usage: Any = None
    moderation: Any = None
    response: msgspec.Raw = msgspec.Raw(b"")


class _Response(msgspec.Struct):
    id: Any = None
    model: Any = None
    service_tier: Any = None
    usage: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_response = msgspec.json.Decoder(_Response).decode


class StreamMeter:
    """Reads an event stream as it passes. Never raises.

    `hide_usage` (chat and completions): usage was asked of the upstream for a caller that did not ask, so the event
    with empty `choices` and a `usage` object is left out and no other byte changes. A complete event is never held
    back; only an unfinished one is, up to `PENDING_BYTES_MAX`. Without it `feed` returns the object it was given.

    Wants decoded bytes. A stream that arrives with a content coding is metered on a decoded copy with `hide_usage` off:
    its coded bytes are forwarded as they are, and what `feed` returns is ignored.
    """

    __slots__ = (
        "_after_cr",
        "_after_hidden",
        "_chat",
        "_hide",
        "_pending",
        "_scanned",
        "_unread",
        "content_seen",
        "done",
        "response_id",
        "response_model",
        "service_tier",
        "usage",
    )

    def __init__(self, endpoint: Endpoint, *, hide_usage: bool) -> None:
        self.done = False
        """The event that ends the stream has passed: `[DONE]`, or response.completed, .incomplete, .failed or error."""
        self.usage: Usage | None = None
        """The upstream's own numbers; the latest, when it sends running totals."""
        self.content_seen = False
        """Text, a tool call, a refusal, reasoning or audio has passed: the first token was there."""
        self.service_tier = ""
        self.response_id = ""
        self.response_model = ""
        self._chat = endpoint in ("chat", "completions")
        self._hide = hide_usage and self._chat
        self._pending = bytearray()
        self._scanned = 0
        self._unread = False  # inside an event that is too large to be read
        self._after_cr = False  # what was passed ended with CR; a LF that follows belongs to it
        self._after_hidden = False

    def feed(self, data: bytes) -> bytes:
        """What to forward now."""
        if data.endswith(_WHOLE) and not self._pending and not self._after_cr and not self._unread:
            return self._pass(data)
        forward = self._feed_pieces(data)
        return forward if self._hide else data

    def finish(self) -> bytes:
        """At the clean end of the stream: the bytes that were held back."""
        rest = bytes(self._pending)
        self._pending.clear()
        forward = rest if self._unread else self._pass(rest)
        return forward if self._hide else b""

    def _feed_pieces(self, data: bytes) -> bytes:
        """Events that do not begin and end with the piece: they wait in `_pending` until they are whole."""
        forward: list[bytes] = []
        pending = self._pending
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
                forward += [] if self._after_hidden else [b"\n"]
        pending += data
        if self._unread and (end := next(event_ends(pending, 0), 0)):
            forward.append(self._take(end))
            self._unread = False
        if not self._unread:
            if end := max(event_ends(pending, self._scanned), default=0):
                forward.append(self._pass(self._take(end)))
            self._scanned = max(0, len(pending) - 2)
        if self._unread or len(pending) > PENDING_BYTES_MAX:
            self._unread = True
            forward.append(bytes(pending[:-3]))  # an end of four bytes may be three bytes old
            del pending[:-3]
        return b"".join(forward)

    def _take(self, end: int) -> bytes:
        block = bytes(self._pending[:end])
        del self._pending[:end]
        self._scanned = 0
        self._after_cr = not self._pending and block.endswith(b"\r")
        self._after_hidden = False
        return block

    def _pass(self, block: bytes) -> bytes:
        """Whole events; the same object when nothing is hidden."""
        if self.content_seen:
            # With include_usage every chunk has `"usage":null`; only another value is worth a look.
            usages = block.count(b'"usage"')
            if (not usages or usages == block.count(b'"usage":null')) and (
                b"[DONE]" not in block if self._chat else not _may_end(block)
            ):
                return block
        return self._read(block)

    def _read(self, block: bytes) -> bytes:
        kept: list[bytes] = []
        hidden = False
        start = 0
        for end in chain(event_ends(block, 0), (len(block),)):
            if not (raw := block[start:end]):
                continue
            start = end
            self._after_hidden = self._read_event(raw) and self._hide
            if self._after_hidden:
                hidden = True
                kept += _beside_event(raw)
            else:
                kept.append(raw)
        return b"".join(kept) if hidden else block

    def _read_event(self, raw: bytes) -> bool:
        """Whether this is an event that only carries usage."""
        data = _data(raw)
        if not data:
            return False
        if data.startswith(b"[DONE]"):
            self.done = True
            return False
        try:
            event = _decode_event(data)
            response = bytes(event.response)
            whole = _decode_response(response) if response.startswith(b"{") else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        self._note(whole or event)
        if event.type in _TERMINAL and not self._chat:
            self.done = True
        if not self.content_seen:
            self.content_seen = _has_content(event)
        return event.choices == [] and isinstance(event.usage, dict) and not event.moderation

    def _note(self, event: _Event | _Response) -> None:
        self.usage = read_usage(event.usage) or self.usage
        self.service_tier = text(event.service_tier) or self.service_tier
        self.response_id = self.response_id or text(event.id)
        self.response_model = self.response_model or text(event.model)


def _may_end(block: bytes) -> bool:
    return (
        b"response.completed" in block
        or b"response.incomplete" in block
        or b"response.failed" in block
        or b'"error"' in block
        or b"[DONE]" in block
    )


def _data(raw: bytes) -> bytes:
    """The data of one event."""
    if raw.startswith(b"data: ") and raw.find(b"\n") >= len(raw.rstrip(b"\n")) and b"\r" not in raw:
        return raw[6:].rstrip(b"\n")
    return b"\n".join(_DATA.findall(raw.removeprefix(_BOM)))


def _beside_event(raw: bytes) -> list[bytes]:
    """Comments and empty lines that stand before the fields of an event and are no part of it."""
    lines = raw.splitlines(keepends=True)
    if lines and lines[-1] in _BLANK:
        lines.pop()
    return [line for line in lines if line.startswith(b":") or line in _BLANK]


def _has_content(event: _Event) -> bool:
    if isinstance(event.choices, list):
        for choice in objects(event.choices):
            delta = choice.get("delta")
            if choice.get("text") or (isinstance(delta, dict) and any(delta.get(name) for name in _CONTENT)):
                return True
        return False
    return isinstance(event.type, str) and (event.type.endswith(".delta") or ".partial_" in event.type)
