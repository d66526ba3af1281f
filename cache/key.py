"""Keys of the cache: what they are made of, and whose they are. Equal meaning, equal key; what may change the answer,
another key. Pure functions.

Two ways to write the same message (`"content": "x"` and `[{"type": "text", "text": "x"}]`) are two questions: to know
all such pairs of all providers is not worth a wrong one.

SHA-256, because a shared namespace is open to callers who would gain from two questions with one key, and because the
processors at hand compute it twice as fast as BLAKE2b (1.4 and 0.5 GB/s).
"""

from __future__ import annotations

import hashlib
import json
from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec

from . import obstacles
from .turn import split

VERSION: Final = 2
"""Rises when equal questions get other keys than before: old entries are then not found, and expire."""

_WITHOUT_EFFECT: Final = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    }
)
"""Top-level fields that change how, to whom or at which price a reply is given, but not what it says."""

_TEXT: Final = {"format": {"type": "text"}}
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "chat": {"n": 1, "logprobs": False, "background": False, "response_format": {"type": "text"}},
    "completions": {"n": 1, "best_of": 1, "echo": False},
    "responses": {"background": False, "truncation": "disabled", "include": [], "text": _TEXT},
    "embeddings": {"encoding_format": "float"},
    "moderations": {},
}
"""What every server takes a missing field for."""

_SAMPLING: Final[dict[str, Any]] = {"temperature": 1, "top_p": 1}
_PENALTIES: Final[dict[str, Any]] = {**_SAMPLING, "presence_penalty": 0, "frequency_penalty": 0}
_OPENAI_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "chat": {**_PENALTIES, "parallel_tool_calls": True, "modalities": ["text"]},
    "completions": {**_PENALTIES, "max_tokens": 16},
    "responses": {**_SAMPLING, "parallel_tool_calls": True},
    "embeddings": {},
    "moderations": {"model": "omni-moderation-latest"},
}
"""What OpenAI documents. Other servers take these from the model's own generation config, or choose differently."""

_OF_EVERY_PROVIDER: Final = {name: _DEFAULTS[name] | _OPENAI_DEFAULTS[name] for name in _DEFAULTS}


def _number(text: str) -> float | int:
    """1.0 and 1 are one number. Raises ValueError for what a double cannot hold."""
    value = float(text)
    if value.is_integer():
        return int(value)
    if not isfinite(value):
        raise ValueError("number out of range")
    return value


_decoder = msgspec.json.Decoder(float_hook=_number)
_encoder = msgspec.json.Encoder(order="sorted")


class Place(NamedTuple):
    """All that a key is made of beside the question itself. Made by `place`."""

    text: bytes
    """JSON and a line break, so that what follows cannot be taken for a part of it."""
    provider: str
    begun: hashlib._Hash
    """The digest as far as `text`: it is the same for every question."""


def place(*, scope: str, endpoint: str, upstream: str, provider: str, query: str = "") -> Place:
    """The arguments of `Question.key`."""
    text = _encoder.encode([VERSION, scope, endpoint, upstream, provider, query]) + b"\n"
    return Place(text, provider, hashlib.sha256(text, usedforsecurity=False))


class Question(msgspec.Struct):
    """A request body that was parsed once."""

    endpoint: str
    document: dict[str, Any]
    """As `read` parses it. It is not changed."""

    @classmethod
    def read(cls, endpoint: str, body: bytes, *, shared: bool = False) -> Question | None:
        """The question in `body` (without content coding). None when it is no JSON object, or has text that is not
        Unicode or numbers that a double cannot hold, or `endpoint` is not one of the five.

        Where an object has a name twice its last value counts, as most servers have it. In a `shared` namespace it is
        None: a server that takes the first would let one caller choose what others are told.
        """
        if endpoint not in _DEFAULTS:
            return None
        try:
            document = _decoder.decode(body)
            if not isinstance(document, dict) or (shared and _names_twice(body)):
                return None
            return cls(endpoint, document)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None

    @property
    def obstacle(self) -> str:
        """Why the reply must not be kept, "" when it may: see `cache.obstacles`."""
        return obstacles.OF[self.endpoint](self.document)

    def key(self, *, scope: str, upstream: str, provider: str, query: str = "") -> str:
        """The key of the answer, 64 hex digits. Raises RecursionError when the question is nested too deeply.

        `scope` is made by `scope`; `query` holds what else of the request decides what the upstream does, beta headers
        too.
        """
        return self.at(place(scope=scope, endpoint=self.endpoint, upstream=upstream, provider=provider, query=query))

    def at(self, where: Place) -> str:
        """`key`, for those who ask many questions at one place. Raises RecursionError as it does."""
        defaults = (_OF_EVERY_PROVIDER if where.provider == "openai" else _DEFAULTS)[self.endpoint]
        hashed = where.begun.copy()
        hashed.update(_canonical(self.document, defaults))
        return hashed.hexdigest()

    def semantic(self) -> tuple[str, str] | None:
        """A digest of all that must be equal, and the text that need only be alike: the user's last turn.

        System prompt, earlier turns, tools and parameters must be equal. None where likeness says nothing, see
        `cache.turn`.
        """
        parted = split(self.endpoint, self.document)
        if parted is None:
            return None
        rest, text = parted
        return _digest([VERSION, self.endpoint], _canonical(rest, _DEFAULTS[self.endpoint])), text


def scope(
    *,
    key_id: str,
    authorization: bytes | None,
    organization: bytes | None = None,
    project: bytes | None = None,
    namespace: str = "",
    shared: bool = False,
) -> str:
    """Who may be given a reply, as the `scope` of a key: callers with different scopes never share one.

    The tenant is the Penstock key `key_id`, or without one the caller's own upstream key (`authorization`), of which
    only a hash remains; the OpenAI organization and project that a caller names are part of the tenant too, as access
    to models hangs on them. `namespace` parts one tenant's entries; a `shared` one is open to every caller that names
    it. The namespace without a name is never shared.
    """
    if shared and namespace:
        return _digest([VERSION, "shared", namespace])
    whose = ["key", key_id] if key_id else ["caller", _text(authorization)]
    return _digest([VERSION, "tenant", *whose, _text(organization), _text(project), namespace])


def _text(header: bytes | None) -> str | None:
    """Any bytes as text, no two of them the same."""
    return None if header is None else header.decode("latin-1")


def _canonical(document: dict[str, Any], defaults: dict[str, Any]) -> bytes:
    """What decides the answer, as JSON text. A default is of one type too: `"logprobs": 0` is not false."""
    kept = {
        name: value
        for name, value in document.items()
        if value is not None
        and name not in _WITHOUT_EFFECT
        and (name not in defaults or value != defaults[name] or type(value) is not type(defaults[name]))
    }
    return _encoder.encode(kept)


def _digest(parts: list[Any], canonical: bytes = b"") -> str:
    """64 hex digits over `parts`, which JSON keeps apart, and one JSON text after them."""
    hashed = hashlib.sha256(_encoder.encode(parts), usedforsecurity=False)
    if canonical:
        hashed.update(canonical)
    return hashed.hexdigest()


def _names_twice(body: bytes) -> bool:
    twice = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len({name for name, _ in pairs}) < len(pairs)

    json.loads(body, object_pairs_hook=look)
    return twice
