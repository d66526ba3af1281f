"""Private text out of an example, before anything of it is written: placeholders such as `[EMAIL_1]` take its place.

The same value has the same placeholder wherever it stands in one conversation, so that what the messages say about each
other stays true. What names people and streets has no shape and is left to the `presidio` engine.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..example import Example
from ..options import Scrub
from .finding import Finder, holds
from .placeholders import Placeholders
from .replacing import AS_IT_IS, FIELDS, NUMBER_MIN, PeopleFinder, Replacer, context_of, is_inlined

_KNOWN_TOOLS_MAX: Final = 64
_KNOWN_TOOLS_BYTES_MAX: Final = 64 * 1024
_CLEAN_BYTES_MAX: Final = 4_000_000
"""Of texts that are remembered to have nothing private in them; a character counts as one, though it may take four."""
_TEXT_BYTES: Final = 100
"""What a text takes beside its characters."""
_USER_CHARACTERS_MIN: Final = 4
_ANYBODY: Final = frozenset(
    {
        "user",
        "users",
        "admin",
        "administrator",
        "anonymous",
        "guest",
        "test",
        "tester",
        "default",
        "none",
        "null",
        "root",
    }
    | {"system", "assistant", "customer", "client", "unknown", "demo", "example", "public", "internal", "local"}
    | {"production", "staging", "support", "service"}
)
"""User ids that are words: nobody in particular."""


class Scrubber:
    """Scrubs examples in place. One per process; not for several threads at once."""

    def __init__(self, options: Scrub) -> None:
        """Raises `DatasetError` for a pattern that cannot be used, and for an engine that is not installed."""
        self._finder = Finder(options.patterns)
        self._clean_tools: set[bytes] = set()
        self._clean = _CleanTexts()
        self._people: PeopleFinder | None = None
        if options.engine == "presidio":
            from .presidio import People

            self._people = People()

    def scrub(self, example: Example) -> dict[str, int]:
        """Replace what is private in messages, tools, the rejected answer, the response format, tags and the label.

        How many pieces of each kind there were; {} when the example was left as it was. Whose example it is (`user`,
        `session`, ids) stays: it is never written but as a hash.
        """
        literals = _literals(example.user)
        tools = self._not_known(example.tools, literals)
        texts = _texts(example, bool(tools))
        if self._people is None:
            # A call says again what those before it said, and that was looked at.
            new = self._clean.unknown(example.user, texts)
            if not self._finder.may_find(_joined(new), literals):
                self._clean.remember(example.user, new)
                self._remember(tools)
                return {}
        names = Placeholders(_joined(texts), literals[0][1] if literals else b"")
        _replace(example, Replacer(self._finder, names, literals, self._people))
        # What was known by its context is private without it too.
        if names.values and holds(_joined(_texts(example, True)), names.values):
            known = [(kind, value) for value, kind in names.values.items()]
            _replace(example, Replacer(self._finder, names, known, None))
        return dict(names.counts)

    def _not_known(self, tools: list[dict[str, Any]], literals: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
        """The tools, unless just the same had nothing to hide: an application sends the same ones with every call."""
        if not tools or not self._clean_tools:
            return tools
        encoded = _encoded(tools)
        return tools if encoded not in self._clean_tools or any(value in encoded for _, value in literals) else []

    def _remember(self, tools: list[dict[str, Any]]) -> None:
        encoded = _encoded(tools) if tools else b""
        if encoded and len(encoded) <= _KNOWN_TOOLS_BYTES_MAX:
            if len(self._clean_tools) >= _KNOWN_TOOLS_MAX:
                self._clean_tools.clear()
            self._clean_tools.add(encoded)


def _literals(user: str) -> list[tuple[str, bytes]]:
    """The caller's own id, where it is nobody else's word."""
    if len(user) < _USER_CHARACTERS_MIN or user.lower() in _ANYBODY:
        return []
    return [("USER", user.encode("utf-8", "surrogatepass"))]


def _encoded(tools: list[dict[str, Any]]) -> bytes:
    """As JSON without escapes where possible; b"" for what cannot be JSON."""
    try:
        return msgspec.json.encode(tools)
    except (UnicodeEncodeError, msgspec.MsgspecError):
        return b""


def _replace(example: Example, replacer: Replacer) -> None:
    for message in (*example.messages, *example.rejected, *example.tools):
        replacer.value(message)
    if example.response_format is not None:
        replacer.value(example.response_format)
    if example.tags:
        example.tags = replacer.value(dict(example.tags))
    if example.label:
        example.label = replacer.value(example.label)


class _CleanTexts:
    """Texts in which nothing private was found, by the user whom they would name."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}
        self._size = 0

    def unknown(self, user: str, texts: list[str]) -> list[str]:
        known = self._of.get(user)
        return [text for text in texts if text not in known] if known else texts

    def remember(self, user: str, texts: list[str]) -> None:
        self._size += len(user) + sum(map(len, texts)) + _TEXT_BYTES * len(texts)
        if self._size > _CLEAN_BYTES_MAX:
            self._of.clear()
            self._size = 0
        self._of.setdefault(user, set()).update(texts)


def _joined(texts: list[str]) -> bytes:
    """With a byte between that nothing private has."""
    return "\x00".join(texts).encode("utf-8", "surrogatepass")


def _texts(example: Example, with_tools: bool) -> list[str]:
    """All text of the example."""
    texts: list[str] = []
    for message in (*example.messages, *example.rejected):
        if len(message) == 2 and (content := message.get("content")).__class__ is str:
            texts.append(content)
            continue
        for name, value in message.items():
            if type(value) is str and name in FIELDS:
                if name != "role":
                    texts.append(value)
            elif value is not None:
                _collect({name: value}, "", texts)
    if with_tools:
        _collect(example.tools, "", texts)
    if example.response_format is not None:
        _collect(example.response_format, "", texts)
    if example.tags:
        _collect(example.tags, "", texts)
    texts.append(example.label)
    return texts


def _collect(value: Any, key: str, texts: list[str]) -> None:
    """As `Replacer.value` goes."""
    if type(value) is str:
        if not is_inlined(value):
            texts.append(context_of(key) + value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in FIELDS:
                if type(inner) is str:
                    if name not in AS_IT_IS and not is_inlined(inner):
                        texts.append(inner)
                    continue
            else:
                texts.append(name)
            _collect(inner, name, texts)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, key, texts)
    elif isinstance(value, int | float) and abs(value) >= NUMBER_MIN:
        texts.append(f"{context_of(key)}{value}")
