"""An item whose answer came from the response cache: done as soon as it is there, and recorded as what it is."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from exporters.record import CallRecord

from ..finishing import Finished, finish
from ..item import Answer
from ..records import ItemRecords, answer_headers
from ..tables import items


def answer_from_cache(
    connection: Connection, item_id: str, answer: Answer, cache_status: str, *, records: ItemRecords, keep_s: float
) -> None:
    """`cache_status`: hit or semantic. Nothing was bought for it."""
    row = connection.execute(select(items).where(items.c.id == item_id)).one_or_none()
    if row is None:
        return
    record = records.of_item(row, answer, shared=True)
    record.cache_status = cache_status
    record.savings = {"response_cache": sum(record.savings.values())} if record.savings else {}
    told = msgspec.structs.replace(answer, headers=[*answer.headers, *answer_headers(record)])
    finished = Finished(item_id, told, record)

    def shared(row: Row[Any], answer: Answer, shared: bool) -> CallRecord:
        return records.of_item(row, answer, shared=shared)

    finish(connection, [finished], now_ns=time.time_ns(), keep_s=keep_s, shared=shared)
