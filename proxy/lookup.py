"""Ask the store for one request: blocking, for threads and commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .endpoints import SUMMARY_COLUMNS, Lookup, LookupFailed

_QUERY = f"""
SELECT {", ".join(SUMMARY_COLUMNS)} FROM generations
WHERE request_id = {{wanted:String}} OR response_id = {{wanted:String}} ORDER BY timestamp DESC LIMIT 1
"""


def lookup(store_url: str) -> Lookup:
    """A lookup in the ClickHouse at `store_url`; connects when it is first used."""

    def find(wanted: str) -> Mapping[str, Any] | None:
        # Imported here: a worker that is never asked does without a ClickHouse client in its memory.
        from exporters.clickhouse.connect import StoreError, connect, parse_url, translated

        if not store_url:
            raise LookupFailed("no store is configured for this process.")
        try:
            client = connect(store_url)
            try:
                with translated(parse_url(store_url)):
                    found = client.query(_QUERY, parameters={"wanted": wanted})
            finally:
                client.close()
        except StoreError as error:
            raise LookupFailed(str(error)) from error
        row = found.first_row
        return dict(zip(SUMMARY_COLUMNS, row, strict=True)) if row else None

    return find
