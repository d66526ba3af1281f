"""Which question a call asks, whose it is, and the name under which its reply is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cache.key import Question, scope

from ..exchange import Exchange
from ..openai.coding import decode
from .control import Control

_TURNS_MAX: Final = 10_000
"""Questions with variants whose turn is remembered."""
_CREDENTIALS: Final = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")
_MEANING: Final = (b"openai-beta", b"anthropic-beta", b"anthropic-version")
"""Request headers that change what an upstream does."""

_scope = lru_cache(maxsize=1024)(scope)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that takes part, and under which name its reply is kept."""

    control: Control
    question: Question
    key: str
    partition: str
    """Where replies to similar questions are looked for."""


class Asking:
    """From exchanges to their questions."""

    def __init__(self, shared_namespaces: Iterable[str]) -> None:
        self._shared_namespaces = frozenset(shared_namespaces)
        self._turns: OrderedDict[str, int] = OrderedDict()

    def __call__(self, exchange: Exchange, control: Control) -> Ask | None:
        """None for a call whose reply must not be given to anybody else."""
        body = exchange.body.data or b""
        if (coding := exchange.header(b"content-encoding")) is not None:
            decoded = decode(body, coding.decode("latin-1"))
            if decoded is None or decoded.broken or decoded.truncated:
                return None
            body = decoded.data
        shared = control.namespace in self._shared_namespaces
        question = Question.read(exchange.endpoint, body, shared=shared)
        if question is None or (question.obstacle and not control.force):
            return None
        fields = exchange.fields
        whose = _scope(
            key_id=exchange.key_id,
            authorization=b"\n".join([fields[name] for name in _CREDENTIALS if name in fields]) or None,
            organization=fields.get(b"openai-organization"),
            project=fields.get(b"openai-project"),
            namespace=control.namespace,
            shared=shared,
        )
        query = "\n".join([exchange.query, *(fields[name].decode("latin-1") for name in _MEANING if name in fields)])
        key = question.key(scope=whose, upstream=exchange.upstream, provider=exchange.provider, query=query)
        return Ask(
            control,
            question,
            self._in_turn(key, control.variants) if control.variants > 1 else key,
            f"{whose}\n{exchange.upstream}\n{query}",
        )

    def _in_turn(self, key: str, variants: int) -> str:
        turn = self._turns.pop(key, 0)
        self._turns[key] = turn + 1
        if len(self._turns) > _TURNS_MAX:
            self._turns.popitem(last=False)
        number = turn % variants
        return f"{key}-{number}" if number else key
