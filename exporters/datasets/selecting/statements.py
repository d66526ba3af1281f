"""The SQL of a selection: generations with what feedback says of them, over a stretch of time.

On a cluster each read of a table is a subquery of its own, so that joins run where the question was asked. Feedback is
that of the request's id, and that of the reply's id where no request was named; of each id, what was sent last.

Scores of evaluations are opinions too, by name: they count where nobody said anything under that name, and never as the
score of a generation that has no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..example import Row
from .conditions import Condition

ID: Final = "if(request_id != '', request_id, concat(trace_id, ':', span_id))"
"""Spans that Penstock did not make have no request id."""

BYTES: Final = "request_bytes + if(stream, 0, response_bytes) + 8 * ifNull(output_tokens, 0)"
"""About how large a row's messages are; to measure them would be to read them. A stream is mostly its frames' wrap."""

_WITHIN: Final = (
    "timestamp >= fromUnixTimestamp64Nano({begin:Int64}) AND timestamp < fromUnixTimestamp64Nano({end:Int64})"
)

_MADE: Final = {
    "request_id": "id",
    "timestamp_ns": "toUnixTimestamp64Nano(timestamp)",
    "endpoint": "multiIf(endpoint != '', endpoint, operation = 'embeddings', 'embeddings', 'chat')",
    "correction": "ifNull(correction, '')",
}
COLUMNS: Final = tuple(f"{_MADE.get(name, name)} AS row_{name}" for name in Row.__struct_fields__)
"""In the order of `Row`, which reads them by place."""

_OF_OPINIONS: Final = """
    arrayFilter(o -> if({score_name:String} = '', o.1, o.4 = {score_name:String}), opinions) AS asked_for,
    arrayLast(o -> isNotNull(o.5), asked_for).5 AS score,
    arrayLast(o -> o.6 != '', asked_for).6 AS label,
    arrayLast(o -> ifNull(o.7, '') != '', opinions).7 AS correction,
    arrayFilter(o -> isNotNull(o.5), opinions) AS scored,
    arrayDistinct(arrayMap(o -> o.4, scored)) AS score_names,
    CAST((score_names, arrayMap(n -> arrayLast(o -> o.4 = n, scored).5, score_names)), 'Map(String, Nullable(Float64))')
        AS scores,
    arrayFilter(o -> o.6 != '', opinions) AS labelled,
    arrayDistinct(arrayMap(o -> o.4, labelled)) AS label_names,
    CAST((label_names, arrayMap(n -> arrayLast(o -> o.4 = n, labelled).6, label_names)), 'Map(String, String)')
        AS labels
"""
"""An opinion: whether somebody said it (not an evaluation), time, id, name, score, label, correction. They are sorted,
so the last one is what somebody said last, or else the newest evaluation."""


def stretch(conditions: Sequence[Condition], *, hashed: bool = False) -> str:
    """Generations between `begin` and `end`, in nanoseconds, that meet conditions on their own columns.

    With `hashed`, every `buckets`-th of them by a hash of their id: the `bucket`-th.
    """
    tests = [_WITHIN, *(condition.sql for condition in conditions)]
    if hashed:
        tests.append(f"sipHash64({ID}) % {{buckets:UInt64}} = {{bucket:UInt64}}")
    return f"SELECT *, {ID} AS id FROM generations WHERE {' AND '.join(tests)}"


def judged(generations: str) -> str:
    """`generations` with `score`, `scores`, `label`, `labels` and `correction`, by feedback up to `seen`."""
    return f"""SELECT *, {_OF_OPINIONS} FROM (
    SELECT g.*, arraySort(arrayConcat(of_request.opinions, of_response.opinions)) AS opinions
    FROM ({generations}) AS g
    LEFT JOIN ({_opinions("request_id", "")}) AS of_request ON g.request_id = of_request.of
    LEFT JOIN ({_opinions("response_id", "AND request_id = ''")}) AS of_response ON g.response_id = of_response.of
)"""


def rows(select: Sequence[Condition], *, hashed: bool = False) -> str:
    """The rows of a slice, as `Row` reads them, in their order."""
    plain = [condition for condition in select if not condition.of_opinions]
    return (
        f"SELECT {', '.join(COLUMNS)} FROM ({judged(stretch(plain, hashed=hashed))}) "
        f"{_where(select)} ORDER BY timestamp, id"
    )


def counts(select: Sequence[Condition]) -> str:
    """Of each `unit` nanoseconds that have any: the unit's number, the rows, their bytes, those without content."""
    plain = [condition for condition in select if not condition.of_opinions]
    source = stretch(plain)
    if len(plain) != len(select):
        source = judged(source)
    return (
        f"SELECT intDiv(toUnixTimestamp64Nano(timestamp), {{unit:Int64}}) AS place, count(), sum({BYTES}), "
        f"countIf(content = 'off') FROM ({source}) {_where(select)} GROUP BY place ORDER BY place"
    )


def left_after_each(select: Sequence[Condition]) -> str:
    """One row: all in the time range, then what is left after each condition in turn."""
    source = judged(stretch(())) if any(condition.of_opinions for condition in select) else stretch(())
    left = [
        f"countIf({' AND '.join(f'ifNull({condition.sql}, 0)' for condition in select[: number + 1])})"
        for number in range(len(select))
    ]
    return f"SELECT {', '.join(['count()', *left])} FROM ({source})"


def _where(select: Sequence[Condition]) -> str:
    tests = [condition.sql for condition in select if condition.of_opinions]
    return f"WHERE {' AND '.join(tests)}" if tests else ""


def _opinions(name: str, test: str) -> str:
    return f"""SELECT {name} AS of,
        groupArray((kind != 'evaluation', timestamp, id, toString(name), score, toString(label), correction))
            AS opinions
    FROM (
        SELECT * FROM feedback FINAL
        WHERE timestamp <= fromUnixTimestamp64Nano({{seen:Int64}}) AND {name} != '' {test}
            AND {name} GLOBAL IN (SELECT {name} FROM generations WHERE {_WITHIN})
    ) GROUP BY of"""
