"""`penstock requests`: the calls that were recorded, as lines or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from exporters.console import MODEL_WIDTH, Call, cut, duration, money, number, print_line, printable

from .filters import Filters
from .store import Query, Row

CALL_COLUMNS = """
    request_id, method, path, endpoint, provider, upstream, model, response_model, response_id, stream, status, outcome,
    error_type, error_message, key_id, user, session, tags, usage_source, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, cost, cache_status, service_tier, duration_ms, ttft_ms, attempts,
    toUnixTimestamp64Nano(timestamp) / 1e9 AS started
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
    )


def as_json(value: Any) -> str:
    """JSON for programs: times that ClickHouse gave as objects become ISO 8601."""
    return json.dumps(value, ensure_ascii=False, default=str)


ID_SHOWN = 16
"""Digits of an id in the list: a prefix that names it. The first twelve are the time."""


def print_list(console: Console, rows: Sequence[Row]) -> None:
    """One line for each call. Where nobody looks the ids are whole and the times have a date and seconds."""
    looked_at = console.is_terminal
    id_width, time_format = (ID_SHOWN, "%m-%d %H:%M") if looked_at else (32, "%Y-%m-%dT%H:%M:%S")
    time_width = len(datetime.now().strftime(time_format))
    head = f"{'id':<{id_width}}  {'time':<{time_width}}  got  {'model':<{MODEL_WIDTH}}"
    print_line(console, Text(f"{head}{'in':>8}{'out':>8}{'cost':>10}{'total':>8}", "dim"))
    for row in rows:
        text = Text.assemble((f"{row['request_id'][:id_width]:<{id_width}}", "cyan"))
        text.append(f"  {datetime.fromtimestamp(row['started']).strftime(time_format)}", "dim")
        print_line(console, text.append_text(_facts(call_of_row(row))))


def _facts(call: Call) -> Text:
    failed = call.status >= 400 or call.status == 0 or call.outcome in ("failed", "cut", "interrupted")
    text = Text()
    text.append(f"  {call.status or '---':>3}  ", "red" if failed else "green")
    text.append(f"{cut(call.what, MODEL_WIDTH):<{MODEL_WIDTH}}", "bold" if call.metered or failed else "dim")
    note = "" if call.outcome == "answered" and not failed else printable(call.error or call.outcome)
    if failed and call.input_tokens is None:
        text.append(f" {cut(note, 24):<25}", "red")
        note = ""
    else:
        about = "~" if call.estimated else ""
        for count in (call.input_tokens, call.output_tokens):
            text.append(f"{'-' if count is None else about + number(count):>8}")
        priced = call.metered or call.input_tokens is not None
        text.append(f"{money(call.cost) if priced else '-':>10}", "yellow" if call.cost else "dim")
    text.append(f"{duration(call.duration_s):>8}")
    if note:
        text.append(f"  {note}", "red" if failed else "yellow")
    return text
