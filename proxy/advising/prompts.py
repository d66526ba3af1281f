"""Prompts as the provider reads them (output schema, tools, instructions, messages), cut into pieces kept once each.

A piece is a tool, or a sentence or line of a message. Prompts that share text share pieces, so that twenty thousand
prompts with the same instructions hold the instructions once.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..openai.document import Unreadable, read

PIECES_CHARACTERS_MAX: Final = 192 * 1024 * 1024
"""Of all pieces together; with that, no further call is read."""
MESSAGE_CHARACTERS_MAX: Final = 400_000
"""Of one text; what is beyond is not looked at."""
REMEMBERED_MAX: Final = 50_000
PER_MESSAGE: Final = 4
"""Tokens around a message and its role (OpenAI's chat format)."""
IMAGE_TOKENS: Final = 765
SHORT: Final = 8
"""Characters; shorter pieces say too little to stand for something."""

TOOL: Final = "definition"
SCHEMA: Final = "schema"
HEAD: Final = "head"
"""The role of what begins a message."""

_PIECE: Final = re.compile(r"[^\n.!?]{0,300}[\n.!?]+[ \t]*|[^\n.!?]{1,300}")
_BLANKS: Final = re.compile(r"\s+")
_RAW: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Full(Exception):
    """There is no room for more text."""


class Pieces:
    """Every different piece, by number. Those that differ in blanks alone, and tools of one name, share a `norm`."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self.count = count
        self._numbers: dict[tuple[str, str], int] = {}
        self._norms: dict[tuple[str, str], int] = {}
        self._remembered: dict[bytes, array[int]] = {}
        self._characters = 0
        self.texts: list[str] = []
        self.roles: list[str] = []
        self.tokens: list[int] = []
        self.norms: list[int] = []

    def add(self, role: str, text: str, name: str = "", tokens: int | None = None) -> int:
        """The number of a piece; `name` is what stays when the text changes. Raises `Full`."""
        number = self._numbers.get((role, text))
        if number is not None:
            return number
        self._characters += len(text) + 200
        if self._characters > PIECES_CHARACTERS_MAX:
            raise Full
        number = self._numbers[role, text] = len(self.texts)
        self.texts.append(text)
        self.roles.append(role)
        self.tokens.append(self.count(text) if tokens is None else tokens)
        norm = name or _BLANKS.sub(" ", text).strip()
        self.norms.append(self._norms.setdefault((role, norm), len(self._norms)))
        return number

    def of_text(self, role: str, text: str) -> list[int]:
        return [self.add(role, piece) for piece in _PIECE.findall(text[:MESSAGE_CHARACTERS_MAX])]

    def of_message(self, raw: bytes) -> array[int]:
        """The pieces of a message in JSON, remembered: conversations repeat all that was said. Raises `Unreadable`."""
        key = hashlib.blake2b(raw, digest_size=16).digest()
        found = self._remembered.get(key)
        if found is None:
            found = array("q", _message(self, read(raw)))
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def tokens_of(self, numbers: Sequence[int]) -> int:
        tokens = self.tokens
        return sum([tokens[number] for number in numbers])

    def common(self, one: int, other: int) -> float:
        """Tokens at the beginning that two pieces share, by the share of their characters."""
        if self.roles[one] != self.roles[other] or not self.texts[one]:
            return 0.0
        length = common_prefix(self.texts[one], self.texts[other])
        return self.tokens[one] * length / len(self.texts[one])

    def is_short(self, number: int) -> bool:
        return len(self.texts[number].strip()) < SHORT


def common_prefix(one: str, other: str) -> int:
    """Length of what both begin with."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    low, high = 0, length
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(slots=True)
class Call:
    """A recorded call. Money and tokens as in `generations`; `at` is Unix time."""

    id: str
    at: float
    provider: str
    upstream: str
    model: str
    response_model: str
    tier: str
    key: str
    user: str
    session: str
    prompt: str
    redacted: bool
    measured: bool
    """The tokens are the provider's own count of a prompt that is text alone."""
    extended: bool
    """It asked for the longer retention already."""
    input_tokens: int
    cached_tokens: int
    tells_cached: bool
    written_tokens: int
    numbers: array[int]


def call_of(row: Mapping[str, Any], pieces: Pieces) -> Call | None:
    """The call of a row of `generations`; None when its messages cannot be read. Raises `Full`."""
    numbers = array("q")
    try:
        numbers.extend(_schema(pieces, row.get("response_format") or ""))
        for tool in _array(row["tool_definitions"]):
            numbers.append(_tool(pieces, tool))
        if instructions := _array(row["system_instructions"]):
            numbers.extend(_message(pieces, {"role": "system", "parts": instructions}))
        for message in _messages(row["input_messages"]):
            numbers.extend(pieces.of_message(message))
    except Unreadable:
        return None
    return Call(
        id=row["request_id"],
        at=float(row["at"]),
        provider=row["provider"],
        upstream=row["upstream"],
        model=row["model"] or row["response_model"],
        response_model=row["response_model"],
        tier="batch" if row.get("batch_id") else row["service_tier"],
        key=row["key_id"],
        user=row["user"],
        session=row["session"],
        prompt=row["prompt_name"],
        redacted=row["content"] == "redacted",
        measured=row["usage_source"] != "estimated" and not row.get("input_image_tokens"),
        extended=row.get("retention") == "24h",
        input_tokens=int(row["input_tokens"] or 0),
        cached_tokens=int(row["cached_tokens"] or 0),
        tells_cached=row["cached_tokens"] is not None,
        written_tokens=int(row["cache_write_tokens"] or 0),
        numbers=numbers,
    )


def _array(text: str) -> list[Any]:
    value = read(text) if text else []
    return value if isinstance(value, list) else []


def _messages(text: str) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _RAW.decode(text)] if text else []
    except (msgspec.DecodeError, UnicodeEncodeError):
        return [json.dumps(message).encode() for message in _array(text)]


def _schema(pieces: Pieces, text: str) -> list[int]:
    value = read(text) if text else None
    if not isinstance(value, dict) or value.get("type") != "json_schema":
        return []
    return [pieces.add(SCHEMA, text, "schema")]


def _tool(pieces: Pieces, tool: Any) -> int:
    inner = tool.get("function", tool) if isinstance(tool, dict) else tool
    name = inner.get("name") if isinstance(inner, dict) else None
    kind = str(tool.get("type")) if isinstance(tool, dict) else ""
    return pieces.add(TOOL, _compact(tool), str(name or kind))


def _message(pieces: Pieces, message: Any) -> Iterator[int]:
    if not isinstance(message, dict):
        return
    role = str(message.get("role"))
    role = "system" if role in ("system", "developer") else role
    yield pieces.add(HEAD, f"<{role}>", tokens=PER_MESSAGE)
    parts = message.get("parts")
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, dict):
            yield from _part(pieces, role, part)


def _part(pieces: Pieces, role: str, part: dict[str, Any]) -> Iterator[int]:
    kind = part.get("type")
    if kind in ("text", "refusal") and isinstance(text := part.get("content"), str):
        yield from pieces.of_text(role, text)
    elif kind == "reasoning":
        return  # kept by the provider, or dropped; not part of what is sent in most calls
    elif kind == "tool_call":
        yield from pieces.of_text(role, f"{part.get('name')}({_text(part.get('arguments'))})")
    elif kind == "tool_call_response":
        yield from pieces.of_text(role, _text(part.get("response")))
    else:
        content = hashlib.blake2b(_compact(part).encode(), digest_size=8).hexdigest()
        tokens = IMAGE_TOKENS if part.get("modality") == "image" else None
        yield pieces.add(role, f"[{part.get('modality') or kind} {content}]", tokens=tokens)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
