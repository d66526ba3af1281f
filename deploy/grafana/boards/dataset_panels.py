"""What recorded traffic there is to learn from: how much, of what, and what was thought of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from . import filters, upstreams
from .board import Row
from .panels import Panel, stat, table, timeseries

_EXAMPLES: Final = f"FROM examples_by_hour WHERE {filters.HOURS} AND {upstreams.CHOSEN}"
_EACH: Final = f"{_EXAMPLES} AND dimension = ''"
_WHOLE: Final = "content = 'full'"
_ABOUT: Final = (
    "Calls of chat models (chat completions and responses) that the model answered with success, each once: what the "
    "cache answered again is not here. "
)


def dataset_rows() -> Sequence[Row]:
    return [
        Row("To learn from", [_examples(), _input(), _output(), _share(), _scored(), _corrected()]),
        Row("Of what", [_over_time(), _by_model(), _by_score(), _by_dimension("prompt"), _by_dimension("tag")]),
    ]


def _examples() -> Panel:
    return stat(
        "Examples",
        f"SELECT sumIf(examples, {_WHOLE}) AS examples {_EACH}",
        about=_ABOUT + "With all of the conversation recorded as it was.",
    )


def _input() -> Panel:
    return stat(
        "Tokens of input",
        f"SELECT sumIf(input_tokens, {_WHOLE}) AS tokens {_EACH}",
        about="Of the examples with all of the conversation.",
    )


def _output() -> Panel:
    return stat(
        "Tokens of output",
        f"SELECT sumIf(output_tokens, {_WHOLE}) AS tokens {_EACH}",
        about="Of the examples with all of the conversation: what a model would be taught to say.",
    )


def _share() -> Panel:
    return stat(
        "Whole conversations",
        f"SELECT sumIf(examples, {_WHOLE}) / nullIf(sum(examples), 0) AS share {_EACH}",
        unit="percentunit",
        about=_ABOUT + "The share of them whose conversation is recorded whole: not redacted, cut off or left out.",
    )


_SAID: Final = """said AS (
    SELECT request_id, response_id, timestamp, score, correction FROM feedback FINAL
    WHERE timestamp >= $__fromTime AND kind = 'feedback' AND (score IS NOT NULL OR correction IS NOT NULL)
)"""
"""What was thought of replies since the time range began; it may be said long after the call."""


def _judged() -> str:
    """The examples that somebody judged, each once: `model`, `score` as was said last, `corrected`. Feedback names its
    call by the one id or the other. Their index finds most of the calls that nobody judged, so it is asked first."""
    joined = " UNION ALL ".join(
        f"""SELECT answer.span_id AS span_id, answer.model AS model, said.timestamp AS said_at,
        said.score AS score, said.correction AS correction
    FROM (
        SELECT span_id, {column} AS id, model FROM generations
        PREWHERE {column} IN (SELECT {column} FROM said WHERE {column} != '')
        WHERE (SELECT count() FROM said WHERE {column} != '') > 0 AND $__timeFilter(timestamp) AND {upstreams.CHOSEN}
            AND operation = 'chat' AND outcome = 'answered' AND status < 300 AND NOT reused
            AND {_WHOLE} AND NOT truncated
    ) AS answer
    JOIN said ON said.{column} = answer.id"""
        for column in ("request_id", "response_id")
    )
    return f"""
    SELECT any(model) AS model, argMaxIf(score, said_at, score IS NOT NULL) AS score,
        countIf(correction IS NOT NULL) > 0 AS corrected
    FROM ({joined}) GROUP BY span_id
"""


def _scored() -> Panel:
    return stat(
        "Scored calls",
        "SELECT uniqExact(if(request_id = '', response_id, request_id)) AS calls FROM feedback FINAL "
        "WHERE $__timeFilter(timestamp) AND kind = 'feedback' AND score IS NOT NULL",
        about="Calls that were given a score in the time range, of whatever model, whether they are examples or not.",
    )


def _corrected() -> Panel:
    return stat(
        "Corrected calls",
        "SELECT uniqExact(if(request_id = '', response_id, request_id)) AS calls FROM feedback FINAL "
        "WHERE $__timeFilter(timestamp) AND correction IS NOT NULL",
        about="Calls for which somebody said, in the time range, what should have been the answer.",
    )


def _over_time() -> Panel:
    return timeseries(
        "Examples by what is recorded of them",
        f"SELECT $__timeInterval(hour) AS time, content, sum(examples) AS examples {_EACH} "
        "GROUP BY time, content ORDER BY time",
        about=_ABOUT + "full: the conversation as it was. redacted: without what was replaced. truncated: cut off at "
        "`record.capture_bytes_max`. off: not recorded.",
        stacked=True,
        bars=True,
        interval="1h",
        colors={"full": "green", "redacted": "blue", "truncated": "orange", "off": "text"},
    )


def _by_model() -> Panel:
    return table(
        "Examples by model",
        f"""SELECT model, sumIf(examples, {_WHOLE}) AS whole, sumIf(input_tokens, {_WHOLE}) AS input,
    sumIf(output_tokens, {_WHOLE}) AS output, sumIf(examples, content = 'redacted') AS redacted,
    sumIf(examples, content = 'truncated') AS truncated, sumIf(examples, content = 'off') AS off
{_EACH} GROUP BY model ORDER BY whole DESC LIMIT 100""",
        about="whole, input and output (tokens) have all of the conversation; the others are beside them.",
        units=dict.fromkeys(("whole", "input", "output", "redacted", "truncated", "off"), "short"),
    )


def _by_score() -> Panel:
    return table(
        "Examples by score",
        f"""WITH {_SAID}
SELECT multiIf(score IS NULL, 'corrected only', score < 0, 'below 0', score < 0.2, '0 to 0.2',
        score < 0.4, '0.2 to 0.4', score < 0.6, '0.4 to 0.6', score < 0.8, '0.6 to 0.8',
        score <= 1, '0.8 to 1', 'above 1') AS range,
    count() AS examples, countIf(corrected) AS corrections, uniqExact(model) AS models, avg(score) AS mean
FROM ({_judged()}) GROUP BY range ORDER BY min(score) NULLS LAST""",
        about="Examples with all of the conversation that somebody judged, by the score that was given last; a call "
        "with several scores counts once. corrections: those with the answer that there should have been.",
        units={"mean": "none"},
        width=8,
    )


def _by_dimension(dimension: str) -> Panel:
    more = " A call with several tags is in several rows." if dimension == "tag" else ""
    return table(
        f"Examples by {dimension}",
        f"""SELECT value AS {dimension}, sum(examples) AS examples, sum(input_tokens) AS input,
    sum(output_tokens) AS output, uniqExact(model) AS models
{_EXAMPLES} AND dimension = '{dimension}' AND {_WHOLE} GROUP BY value ORDER BY examples DESC LIMIT 100""",
        about=f"With all of the conversation; the hundred with the most.{more}",
        units=dict.fromkeys(("examples", "input", "output"), "short"),
        width=8,
    )
