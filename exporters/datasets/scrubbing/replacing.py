"""Values with their private parts replaced, in place: texts, and what is made of them. JSON stays JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

from .finding import Finder
from .placeholders import Placeholders

_DEPTH_MAX: Final = 8
"""JSON within JSON within ...; deeper is searched as text."""
_KEY_CHARACTERS_MAX: Final = 64
NUMBER_MIN: Final = 10_000
"""Smaller numbers are nobody's."""
AS_IT_IS: Final = frozenset({"role", "type"})
"""Fields whose values are words of the format."""
FIELDS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call", "function", "arguments", "id"}
    | {"type", "text", "image_url", "url", "parameters", "description", "properties", "required"}
)
"""Names that need no look."""

_telling: Final = re.compile(
    "(?i)pass|pwd|kennwort|contrase|secret|token|key|auth|phone|tel|mobile|cell|fax|sms|whatsapp|handy|ssn|social|ausweis"
    "|tax|steuer|national|licen|pesel|bsn|nino|insurance|tfn|nhs|person|aadhaar|curp|id_card|cv[vc]|code|credential|pin"
).search
_camel: Final = re.compile(r"(?<=[a-z])(?=[A-Z])").sub

# Unrolled, so it is linear. Only of what is known to be JSON.
_tokens: Final = re.compile(r'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")(?P<key>\s*:)?|-?[0-9][0-9.eE+\-]*', re.DOTALL)


class PeopleFinder(Protocol):
    def find(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, kind) by place, none over another."""


@lru_cache(4096)
def context_of(key: str) -> str:
    """What a name tells about its value, as text before it; "" when it tells nothing."""
    return _camel("_", key) + ": " if len(key) <= _KEY_CHARACTERS_MAX and _telling(key) else ""


def is_inlined(text: str) -> bool:
    """Whether it is a picture or a file. What they show is not looked at."""
    return text.startswith("data:") and ";base64," in text[:200]


class Replacer:
    """One walk over an example, or several."""

    def __init__(
        self,
        finder: Finder,
        names: Placeholders,
        literals: Sequence[tuple[str, bytes]],
        people: PeopleFinder | None = None,
    ) -> None:
        self._finder = finder
        self._names = names
        self._literals = literals
        self._people = people

    def value(self, value: Any, key: str = "") -> Any:
        """Objects and arrays are changed in place; what is returned takes the value's place."""
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, dict):
            self._object(value)
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                value[place] = self.value(inner, key)
        elif isinstance(value, int | float) and abs(value) >= NUMBER_MIN:
            # `True` is 1.
            text = str(value)
            replaced = self._text(text, key)
            return value if replaced == text else replaced
        return value

    def _object(self, value: dict[str, Any]) -> None:
        renamed = False
        items = []
        for key, inner in value.items():
            name = key if key in FIELDS else self._text(key, "")
            renamed = renamed or name != key
            items.append((name, inner if key in AS_IT_IS else self.value(inner, key)))
        if renamed:
            value.clear()
        value.update(items)

    def _text(self, text: str, key: str, depth: int = 0) -> str:
        if not text or is_inlined(text):
            return text
        context = context_of(key).encode("utf-8", "surrogatepass")
        data = context + text.encode("utf-8", "surrogatepass")
        if self._people is None and not self._finder.may_find(data, self._literals):
            return text
        if depth < _DEPTH_MAX and _may_be_json(text) and (replaced := self._json(text, depth)) is not None:
            return replaced
        pieces = []
        done = len(context)
        for start, end, kind in self._finder.find(data, self._literals):
            if end > done:
                pieces += [data[done : max(start, done)], self._names.give(kind, data[max(start, done) : end])]
                done = end
        if pieces:
            text = b"".join([*pieces, data[done:]]).decode("utf-8", "surrogatepass")
        return self._without_people(text) if self._people is not None else text

    def _json(self, text: str, depth: int) -> str | None:
        """A JSON document: its strings, keys and numbers. All else stays as it was written. None: it is none."""
        try:
            json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return None
        key = ""

        def token(found: re.Match[str]) -> str:
            nonlocal key
            written = found["text"]
            if written is None:
                replaced = self._text(found[0], key, depth + 1)
                return found[0] if replaced == found[0] else json.dumps(replaced)
            inner = json.loads(written, strict=False)
            colon = found["key"]
            if colon is not None:
                key = inner
            replaced = self._text(inner, "" if colon is not None else key, depth + 1)
            if replaced == inner:
                return found[0]
            return json.dumps(replaced, ensure_ascii=written.isascii()) + (colon or "")

        return _tokens.sub(token, text)

    def _without_people(self, text: str) -> str:
        assert self._people is not None
        pieces = []
        done = 0
        for start, end, kind in self._people.find(text):
            value = text[start:end].encode("utf-8", "surrogatepass")
            pieces += [text[done:start], self._names.give(kind, value).decode()]
            done = end
        return "".join([*pieces, text[done:]]) if pieces else text


def _may_be_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[", '"') and text.rstrip()[-1:] in ("}", "]", '"')
