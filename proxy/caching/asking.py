"""Which question a call asks, whose it is, and the name under which its reply is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from cache.key import Place, Question, place, scope

from ..exchange import Exchange
from ..http.headers import CREDENTIALS, MEANING
from ..openai.coding import plain
from .control import Control

_TURNS_MAX: Final = 10_000
"""Questions with variants whose turn is remembered."""

_SELDOM: Final = frozenset({*CREDENTIALS[1:], *MEANING, b"openai-organization", b"openai-project"})
_PLACES_MAX: Final = 1000
_REPEATED_MAX: Final = 500
_REPEATED_BYTES_MAX: Final = 16 * 1024
"""Of a question that is remembered byte for byte: 8 MB of them at most."""


class Ask(msgspec.Struct):
    """A call that takes part, and under which name its reply is kept."""

    control: Control
    question: Question
    key: str
    partition: str
    """Where replies to similar questions are looked for."""
    name: tuple[bytes, bytes, int] | None
    """The question byte for byte, its place and its control; None when it is remembered, or must not be."""


class Asking:
    """From exchanges to their questions."""

    def __init__(self, shared_namespaces: Iterable[str]) -> None:
        self._shared_namespaces = frozenset(shared_namespaces)
        self._turns: OrderedDict[str, int] = OrderedDict()
        self._repeated: dict[tuple[bytes, bytes, int], Ask] = {}
        self._lengths: set[int] = set()
        """Of the questions in `_repeated`: one of another length is none of them, and need not be hashed to know it."""
        self._places: dict[tuple[object, ...], tuple[str, Place]] = {}

    def ask(self, exchange: Exchange, control: Control) -> Ask | None:
        """None for a call whose reply must not be given to anybody else."""
        body = exchange.body.data or b""
        shared = control.namespace in self._shared_namespaces
        partition, where = self._place(exchange, control.namespace, shared)
        name = (body, where.text, id(control))  # The control is kept with the question, so its id stays its own.
        if len(body) in self._lengths and (known := self._repeated.get(name)) is not None:
            return known
        coding = exchange.fields.get(b"content-encoding")
        text = plain(body, coding) if coding else body
        question = None if text is None else Question.read(exchange.endpoint, text, shared=shared)
        if question is None or (not control.force and question.obstacle):
            return None
        try:
            key = question.at(where)
        except RecursionError:
            return None
        if control.variants > 1:
            return Ask(control, question, self._in_turn(key, control.variants), partition, None)
        return Ask(control, question, key, partition, None if coding or len(body) > _REPEATED_BYTES_MAX else name)

    def repeated(self, ask: Ask) -> None:
        """A kept reply was given: remember the question byte for byte, as it is likely to be asked again."""
        if ask.name is None:
            return
        if len(self._repeated) >= _REPEATED_MAX:
            self._repeated.clear()
            self._lengths.clear()
        self._repeated[ask.name] = ask
        self._lengths.add(len(ask.name[0]))
        ask.name = None

    def _place(self, exchange: Exchange, namespace: str, shared: bool) -> tuple[str, Place]:
        """Whose question it is, and to whom. Most callers ask many, so it is remembered for those who say little."""
        fields = exchange.fields
        if not _SELDOM.isdisjoint(fields):
            return _place_of(exchange, fields, namespace, shared)
        name = (
            exchange.key_id,
            fields.get(b"authorization"),
            namespace,
            exchange.endpoint,
            exchange.upstream,
            exchange.query,
        )
        found = self._places.get(name)
        if found is None:
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            found = self._places[name] = _place_of(exchange, fields, namespace, shared)
        return found

    def _in_turn(self, key: str, variants: int) -> str:
        turn = self._turns.pop(key, 0)
        self._turns[key] = turn + 1
        if len(self._turns) > _TURNS_MAX:
            self._turns.popitem(last=False)
        number = turn % variants
        return f"{key}-{number}" if number else key


def _place_of(exchange: Exchange, fields: Mapping[bytes, bytes], namespace: str, shared: bool) -> tuple[str, Place]:
    whose = scope(
        key_id=exchange.key_id,
        authorization=b"\n".join([fields[name] for name in CREDENTIALS if name in fields]) or None,
        organization=fields.get(b"openai-organization"),
        project=fields.get(b"openai-project"),
        namespace=namespace,
        shared=shared,
    )
    query = "\n".join([exchange.query, *(fields[name].decode("latin-1") for name in MEANING if name in fields)])
    where = place(
        scope=whose,
        endpoint=exchange.endpoint,
        upstream=exchange.upstream,
        provider=exchange.provider,
        query=query,
    )
    return f"{whose}\n{exchange.upstream}\n{query}", where
