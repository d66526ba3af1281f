"""Filters as SQL over `generations`, each with its parameters apart and the words in which it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from ..options import Select

OPINIONS: Final = frozenset({"score", "scores", "label", "labels"})
"""What feedback says of a generation: columns beside its own."""

Value = str | int | float | Sequence[str]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    says: str
    """For people: `user alice or bob`."""
    sql: str
    of_opinions: bool = False
    """It looks at feedback too."""


class Conditions:
    """Every filter of a selection but that on time. `parameters` are what the SQL names in braces."""

    def __init__(self, select: Select, where: str = "", where_of_opinions: bool = False) -> None:
        """`where` is `select.where`, checked; `where_of_opinions`: it mentions feedback."""
        self.parameters: dict[str, Any] = {}
        found = [*self._plain(select), *self._of_numbers(select), *self._of_opinions(select)]
        if where:
            found.append(Condition(says=f"--where {where}", sql=f"(\n{where}\n)", of_opinions=where_of_opinions))
        self.all: Sequence[Condition] = sorted(found, key=lambda condition: condition.of_opinions)

    @property
    def plain(self) -> Sequence[Condition]:
        return [condition for condition in self.all if not condition.of_opinions]

    @property
    def of_opinions(self) -> Sequence[Condition]:
        return [condition for condition in self.all if condition.of_opinions]

    def _named(self, value: Value, kind: str) -> str:
        name = f"value_{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"

    def _plain(self, select: Select) -> Iterator[Condition]:
        if select.models:
            wanted = self._any(("model", "response_model"), select.models)
            yield Condition(says=_says("model", select.models), sql=wanted)
        columns = {
            "upstream": select.upstreams,
            "key_id": select.keys,
            "user": select.users,
            "session": select.sessions,
        }
        for column, values in columns.items():
            if values:
                yield Condition(says=_says(column, values), sql=self._any((column,), values))
        for tag in select.tags:
            yield Condition(says=f"tag {tag}", sql=self._tag(tag))
        if select.prompts:
            asked = " OR ".join(map(self._prompt, select.prompts))
            yield Condition(says=_says("prompt", select.prompts), sql=f"({asked})")
        if select.outcomes:
            yield Condition(says=_says("outcome", select.outcomes), sql=self._any(("outcome",), select.outcomes))
        if select.finish_reasons:
            matched = self._any(("reason",), select.finish_reasons)
            yield Condition(
                says=_says("finish reason", select.finish_reasons),
                sql=f"arrayExists(reason -> {matched}, finish_reasons)",
            )

    def _of_numbers(self, select: Select) -> Iterator[Condition]:
        limits: tuple[tuple[str, str, int | float | None, str], ...] = (
            ("input_tokens", "<=", select.input_tokens_max, "UInt64"),
            ("output_tokens", ">=", select.output_tokens_min, "UInt64"),
            ("output_tokens", "<=", select.output_tokens_max, "UInt64"),
            ("cost", "<=", select.cost_max, "Float64"),
        )
        for column, sign, limit, kind in limits:
            if limit is not None:
                yield Condition(says=f"{column} {sign} {limit}", sql=f"{column} {sign} {self._named(limit, kind)}")

    def _of_opinions(self, select: Select) -> Iterator[Condition]:
        if select.labels:
            wanted = self._any(("label",), select.labels)
            yield Condition(says=_says("label", select.labels), sql=wanted, of_opinions=True)
        if select.score_min is not None:
            name = f"{select.score_name} " if select.score_name else ""
            limit = self._named(float(select.score_min), "Float64")
            yield Condition(says=f"score {name}>= {select.score_min}", sql=f"score >= {limit}", of_opinions=True)

    def _any(self, columns: Sequence[str], values: Sequence[str]) -> str:
        """Any of the columns is one of the values, or like one of those with a star."""
        plain = [value for value in values if "*" not in value]
        tests: list[Callable[[str], str]] = []
        if plain:
            names = self._named(plain, "Array(String)")
            tests.append(lambda column: f"has({names}, {column})")
        for value in values:
            if "*" in value:
                pattern = self._named(like(value), "String")
                tests.append(lambda column, pattern=pattern: f"{column} LIKE {pattern}")  # type: ignore[misc]
        return f"({' OR '.join(test(column) for column in columns for test in tests)})"

    def _tag(self, tag: str) -> str:
        name, equals, value = tag.partition("=")
        key = self._named(name, "String")
        if not equals:
            return f"mapContains(tags, {key})"
        # An absent tag reads as "".
        return f"(mapContains(tags, {key}) AND {self._any((f'tags[{key}]',), (value,))})"

    def _prompt(self, prompt: str) -> str:
        name, at, version = prompt.rpartition("@")
        if not at:
            return self._any(("prompt_name",), (prompt,))
        return f"({self._any(('prompt_name',), (name,))} AND {self._any(('prompt_version',), (version,))})"


def like(pattern: str) -> str:
    """A pattern with stars, for LIKE: all else in it stands for itself."""
    return pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")


def _says(what: str, values: Sequence[str]) -> str:
    """At most a few of the values."""
    shown = " or ".join(values[:5])
    return f"{what} {shown}" + (f" or one of {len(values) - 5} more" if len(values) > 5 else "")
