"""The filters of a selection, applied to rows of files: what the store does for its own rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import DatasetError
from ..example import Row
from ..options import Select

Test = Callable[[Row], bool]


class Sieve:
    """Raises `DatasetError` for filters that only the store can answer."""

    def __init__(self, select: Select) -> None:
        if select.where:
            raise DatasetError("--where is a question to the store, and not possible with --from.")
        if select.score_name:
            raise DatasetError("Scores in files have no names: leave out the name of the score.")
        self._select = select
        self._tests: Final[Sequence[Test]] = [*_of_names(select), *_of_numbers(select)]

    def __reduce__(self) -> tuple[type[Sieve], tuple[Select]]:
        return Sieve, (self._select,)

    def passes(self, row: Row) -> bool:
        return all(test(row) for test in self._tests)


def _of_names(select: Select) -> list[Test]:
    tests: list[Test] = []
    if select.models:
        model = _any(select.models)
        tests.append(lambda row: model(row.model) or model(row.response_model))
    named: tuple[tuple[tuple[str, ...], Callable[[Row], str]], ...] = (
        (select.upstreams, lambda row: row.upstream),
        (select.keys, lambda row: row.key_id),
        (select.users, lambda row: row.user),
        (select.sessions, lambda row: row.session),
        (select.outcomes, lambda row: row.outcome),
        (select.labels, lambda row: row.label),
    )
    for values, value_of in named:
        if values:
            tests.append(_named(_any(values), value_of))
    if select.finish_reasons:
        reason = _any(select.finish_reasons)
        tests.append(lambda row: any(map(reason, row.finish_reasons)))
    if select.prompts:
        prompt = _any(select.prompts)
        tests.append(lambda row: prompt(row.prompt_name) or prompt(f"{row.prompt_name}@{row.prompt_version}"))
    tests += [_tagged(tag) for tag in select.tags]
    return tests


def _of_numbers(select: Select) -> list[Test]:
    """A limit is not kept by what is not known."""
    tests: list[Test] = []
    if select.since_ns or select.until_ns:
        tests.append(lambda row: select.since_ns <= row.timestamp_ns < (select.until_ns or 2**63))
    limits: tuple[tuple[float | None, Callable[[Row], float | None], int], ...] = (
        (select.input_tokens_max, lambda row: row.input_tokens, -1),
        (select.output_tokens_max, lambda row: row.output_tokens, -1),
        (select.output_tokens_min, lambda row: row.output_tokens, 1),
        (select.cost_max, lambda row: row.cost, -1),
        (select.score_min, lambda row: row.score, 1),
    )
    for limit, value_of, sign in limits:
        if limit is not None:
            tests.append(_within(limit, value_of, sign))
    return tests


def _named(matches: Callable[[str], bool], value_of: Callable[[Row], str]) -> Test:
    return lambda row: matches(value_of(row))


def _within(limit: float, value_of: Callable[[Row], float | None], sign: int) -> Test:
    return lambda row: (value := value_of(row)) is not None and (value - limit) * sign >= 0


def _tagged(tag: str) -> Test:
    name, equals, value = tag.partition("=")
    if not equals:
        return lambda row: name in row.tags
    matches = _any((value,))
    return lambda row: name in row.tags and matches(row.tags[name])


def _any(values: Sequence[str]) -> Callable[[str], bool]:
    """Any of the values, of which those with a star are patterns."""
    plain = frozenset(value for value in values if "*" not in value)
    patterns = [_pattern(value) for value in values if "*" in value]
    return lambda text: text in plain or any(pattern.fullmatch(text) is not None for pattern in patterns)


def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)
