"""`penstock advise prompt-cache`: reads what was recorded, newest first and within bounds, for the advisor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..advising.findings import Advice
from ..advising.policies import HOUR_S
from ..advising.prompt_cache import advise
from ..advising.prompts import Call, Full, Pieces, call_of
from ..metering.prices import Prices
from ..metering.tokenizer import Tokenizer
from ..settings import Settings
from .failure import CommandFailed
from .filters import Filters
from .store import Query, Row

PAGE_BYTES: Final = 16 * 1024 * 1024
"""Of messages in one answer of the store."""
CALL_BYTES_MAX: Final = 4 * 1024 * 1024
"""A longer prompt is not read."""
TEXT_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of messages in all; then the oldest calls are left out."""

_PROMPTS: Final = """endpoint IN ('chat', 'responses', 'completions', '') AND operation NOT IN ('embeddings')
    AND outcome IN ('answered', 'abandoned', 'cut') AND status BETWEEN 200 AND 299 AND input_tokens > 0"""
_BYTES: Final = "length(input_messages) + length(system_instructions) + length(tool_definitions)"
_COLUMNS: Final = """
    request_id, toUnixTimestamp64Nano(timestamp) / 1e9 AS at, provider, upstream, model, response_model, batch_id,
    service_tier, key_id, user, session, prompt_name, content, usage_source, input_tokens, cached_tokens,
    cache_write_tokens, input_image_tokens, input_messages, system_instructions, tool_definitions,
    if(JSONHas(parameters, 'response_format'), JSONExtractRaw(parameters, 'response_format'),
        JSONExtractRaw(parameters, 'text', 'format')) AS response_format,
    JSONExtractString(parameters, 'prompt_cache_retention') AS retention
"""


def prompt_cache(query: Query, filters: Filters, limit: int, settings: Settings, now: datetime) -> Advice:
    """The advice on the newest `limit` calls. Raises `CommandFailed` with what to do when there is nothing to read."""
    index = _index(query, filters, limit)
    model = Tokenizer(Path(settings.server.data_dir, "tokenizer"))
    pieces = Pieces(partial(model.count, "gpt-4o"))
    calls: list[Call] = []
    try:
        for rows in (_page(query, filters, page) for page in _pages(index)):
            calls += [call for row in rows if (call := call_of(row, pieces)) is not None]
    except Full:
        pass  # the newest are read; what they say about a day is true of the time that they span
    if not calls:
        raise CommandFailed("None of the recorded prompts could be read.")
    window_s = max(HOUR_S, now.timestamp() - min(call.at for call in calls))
    advice = advise(calls, pieces, Prices(settings.prices), window_s)
    advice.skipped["unread"] = max(0, len(index) - len(calls))
    return advice


def _index(query: Query, filters: Filters, limit: int) -> list[Row]:
    """When the calls were made and how long their prompts are, newest first."""
    where, values = filters.where()
    found = query(
        f"SELECT toUnixTimestamp64Nano(timestamp) AS at_ns, {_BYTES} AS bytes FROM generations"
        f" WHERE {where} AND {_PROMPTS} AND {_BYTES} BETWEEN 1 AND {{bytes_max:UInt64}}"
        " ORDER BY timestamp DESC LIMIT {limit:UInt32}",
        values | {"limit": limit, "bytes_max": CALL_BYTES_MAX},
    )
    if found:
        return [*found]
    counted = query(f"SELECT count() AS calls FROM generations WHERE {where} AND {_PROMPTS}", values)
    if counted and counted[0]["calls"]:
        raise CommandFailed(
            f"The {counted[0]['calls']:,} calls that fit were recorded without their messages. "
            'Set record.content to "full" or "redacted", and come back when there is traffic.'
        )
    raise CommandFailed(
        "No call with a prompt is recorded that fits. --since 30d looks further back; "
        "point OPENAI_BASE_URL at `penstock serve` to record calls."
    )


def _pages(index: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """From when to when to read at once (Unix nanoseconds, both included), newest first."""
    total = page = 0
    newest: int | None = None
    last = 0
    for row in index:
        if newest is not None and page + row["bytes"] > PAGE_BYTES and row["at_ns"] != last:
            yield last, newest
            newest, page = None, 0
        if total > TEXT_BYTES_MAX and newest is None:
            return
        newest = row["at_ns"] if newest is None else newest
        last = row["at_ns"]
        page += row["bytes"]
        total += row["bytes"]
    if newest is not None:
        yield last, newest


def _page(query: Query, filters: Filters, page: tuple[int, int]) -> Sequence[Row]:
    where, values = filters.where()
    return query(
        f"SELECT {_COLUMNS} FROM generations WHERE {where} AND {_PROMPTS}"
        " AND timestamp BETWEEN fromUnixTimestamp64Nano({oldest:Int64}) AND fromUnixTimestamp64Nano({newest:Int64})"
        f" AND {_BYTES} BETWEEN 1 AND {{bytes_max:UInt64}}",
        values | {"oldest": page[0], "newest": page[1], "bytes_max": CALL_BYTES_MAX},
    )


def document(advice: Advice) -> dict[str, Any]:
    """The same facts for programs."""
    found = asdict(advice)
    findings = [asdict(finding) | {"title": finding.title} for finding in advice.findings]
    for application in found["applications"]:
        del application["findings"]
    return {
        "calls": advice.calls,
        "window_s": advice.window_s,
        "skipped": advice.skipped,
        "usd_per_day": sum(one.usd_per_day or 0.0 for one in advice.applications),
        "findings": findings,
        "applications": found["applications"],
    }
