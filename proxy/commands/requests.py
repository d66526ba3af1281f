"""`penstock requests`: the calls that were recorded, as lines or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from exporters.call_line import (
    Call,
    duration,
    has_failed,
    model_width,
    money,
    note,
    number,
    padded,
    status_and_model,
    way_of,
    with_note,
)
from exporters.console import columns_of, print_line

from .filters import Filters
from .store import Query, Row

CALL_COLUMNS = """
    request_id, method, path, endpoint, provider, upstream, model, response_model, response_id, stream, status, outcome,
    error_type, error_message, key_id, user, session, tags, usage_source, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, cost, cache_status, batch_id, service_tier, duration_ms, ttft_ms, attempts,
    toUnixTimestamp64Nano(timestamp) / 1e9 AS started, alias, variant
"""
"""What is listed of a call: all but its text."""


def select(query: Query, filters: Filters, limit: int) -> list[Row]:
    """The newest `limit` calls, oldest first."""
    where, values = filters.where()
    sql = f"SELECT {CALL_COLUMNS} FROM generations WHERE {where} ORDER BY timestamp DESC LIMIT {{limit:UInt32}}"
    return [*query(sql, values | {"limit": limit})][::-1]


def call_of_row(row: Row) -> Call:
    """What a line tells of a row of `generations`."""
    return Call(
        ended=row["started"] + row["duration_ms"] / 1e3,
        status=row["status"],
        what=row["model"] or f"{row['method']} {row['path']}",
        metered=row["endpoint"] != "other" and row["status"] < 400 and row["outcome"] in ("answered", "cached", "cut"),
        duration_s=row["duration_ms"] / 1e3,
        first_token_s=None if row["ttft_ms"] is None else row["ttft_ms"] / 1e3,
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        estimated=row["usage_source"] == "estimated",
        cost=row["cost"],
        outcome=row["outcome"],
        error=row["error_type"],
        cache=row["cache_status"],
        way=way_of(row["batch_id"], row["outcome"]),
        variant=row["variant"],
    )


def as_json(value: Any) -> str:
    """JSON for programs: times that ClickHouse gave as objects become ISO 8601."""
    return json.dumps(value, ensure_ascii=False, default=str)


ID_SHOWN = 16
"""Digits of an id in the list: a prefix that names it. The first twelve are the time."""
ERROR_WIDTH = 26


def print_list(console: Console, rows: Sequence[Row]) -> None:
    """One line for each call. Where nobody looks the ids are whole and the times have a date and seconds."""
    columns = columns_of(console)
    id_width, time_format = (32, "%Y-%m-%dT%H:%M:%S") if columns is None else (ID_SHOWN, _shortest(rows))
    time_width = len(datetime.now().strftime(time_format))
    width = model_width(columns, id_width + time_width + 43)
    first = f"{'id':<{id_width}}  {'time':<{time_width}}  got  {'model':<{width}}"
    print_line(console, Text(f"{first}{'in':>8}{'out':>8}{'cost':>10}{'total':>8}", "dim"))
    for row in rows:
        text = Text.assemble((row["request_id"][:id_width], "cyan"))
        text.append(f"  {datetime.fromtimestamp(row['started']).strftime(time_format)}", "dim")
        print_line(console, _with_facts(text, call_of_row(row), width, columns))
    if not rows and columns is not None:
        console.print(Text("No call is recorded that fits. --since 30d looks further back than a week.", "dim"))


def _shortest(rows: Sequence[Row]) -> str:
    """Times of today need no date."""
    today = datetime.now().date()
    of_today = all(datetime.fromtimestamp(row["started"]).date() == today for row in rows)
    return "%H:%M:%S" if of_today else "%m-%d %H:%M"


def _with_facts(text: Text, call: Call, width: int, columns: int | None) -> Text:
    said, style = note(call)
    text.append_text(status_and_model(call, width))
    if has_failed(call.status, call.outcome) and not call.has_usage:
        text.append(f" {padded(said, ERROR_WIDTH - 1)}", style)
        said = ""
    else:
        about = "~" if call.estimated else ""
        for count in (call.input_tokens, call.output_tokens):
            text.append(f"{'-' if count is None else about + number(count):>8}")
        priced = call.metered or call.has_usage
        text.append(f"{money(call.cost) if priced else '-':>10}", "yellow" if call.cost else "dim")
    text.append(f"{duration(call.duration_s):>8}")
    return with_note(text, said, style, columns)
