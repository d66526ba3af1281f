"""Redaction of a captured event stream, where a secret may lie in pieces over many events.

The pieces of one text (the same field of the same choice, item or tool call, event after event) are joined and
searched whole. When something is found, the redacted text goes into the first of those events and the others keep an
empty piece: the stream has the same events in the same order and assembles to the redacted text. Every other string is
searched alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

RedactBytes = Callable[[bytes], bytes]
"""Returns the object it was given when there is nothing to hide."""

_PIECES: Final = frozenset(
    {"content", "delta", "text", "arguments", "input", "refusal", "reasoning", "reasoning_content", "transcript"}
    | {"thinking", "partial_json", "summary", "output"}
)
"""Fields that arrive in pieces in the streams of OpenAI and of those who speak its language."""

_PLACES: Final = ("type", "item_id", "output_index", "content_index", "summary_index", "index", "call_id")
"""Fields that tell one text from another."""

_lines: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_DEPTH_MAX: Final = 32

Channel = tuple[Any, ...]


class _Piece:
    __slots__ = ("holder", "key", "line")

    def __init__(self, line: int, holder: dict[str, Any], key: str) -> None:
        self.line = line
        self.holder = holder
        self.key = key


def redact_events(body: bytes, redact_json: RedactBytes, redact_text: RedactBytes) -> bytes:
    """`body` itself when there is nothing to hide. A last line that was cut off in the middle is left out."""
    lines = [line for line in _lines.findall(body) if line]
    documents: dict[int, Any] = {}
    for number, line in enumerate(lines):
        if line.startswith(b"data:"):
            try:
                documents[number] = msgspec.json.decode(line[5:])
            except (msgspec.DecodeError, UnicodeDecodeError):
                if number == len(lines) - 1 and not line.endswith((b"\n", b"\r")) and b"{" in line:
                    lines[number] = b""
    joined = _redact_joined(documents, redact_text)
    changed = False
    for number, line in enumerate(lines):
        if number in joined:
            ending = line[len(line.rstrip(b"\r\n")) :]
            line = b"data: " + msgspec.json.encode(documents[number]) + ending
        lines[number] = _redact_line(line, redact_json)
        changed = changed or lines[number] is not line or number in joined
    return b"".join(lines) if changed or lines[-1:] == [b""] else body


def _redact_line(line: bytes, redact_json: RedactBytes) -> bytes:
    name, colon, value = line.partition(b":")
    redacted = redact_json(value)
    return line if redacted is value else name + colon + redacted


def _redact_joined(documents: dict[int, Any], redact_text: RedactBytes) -> set[int]:
    """Redacts texts that are in pieces, in place; says which lines have changed."""
    channels: dict[Channel, list[_Piece]] = {}
    for number, document in documents.items():
        for channel, holder, key in _pieces(document, (), 0):
            channels.setdefault(channel, []).append(_Piece(number, holder, key))
    touched = set()
    for pieces in channels.values():
        if len(pieces) == 1:
            continue
        whole = "".join(piece.holder[piece.key] for piece in pieces).encode("utf-8", "surrogatepass")
        redacted = redact_text(whole)
        if redacted is whole:
            continue
        for piece in pieces:
            piece.holder[piece.key] = ""
            touched.add(piece.line)
        pieces[0].holder[pieces[0].key] = redacted.decode("utf-8", "surrogatepass")
    return touched


def _pieces(node: Any, path: Channel, depth: int) -> Iterator[tuple[Channel, dict[str, Any], str]]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(node, dict):
        place = (*path, *(node.get(name) for name in _PLACES if isinstance(node.get(name), str | int)))
        for key, value in node.items():
            if isinstance(value, str):
                if key in _PIECES:
                    yield (*place, key), node, key
            elif isinstance(value, dict | list):
                yield from _pieces(value, (*place, key), depth + 1)
    elif isinstance(node, list):
        for number, item in enumerate(node):
            # An element that says its own index is known by it, wherever in the list it stands.
            known = isinstance(item, dict) and isinstance(item.get("index"), int)
            yield from _pieces(item, path if known else (*path, number), depth + 1)
