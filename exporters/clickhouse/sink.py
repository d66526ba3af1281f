"""The sink that keeps every record in ClickHouse: one insert a batch, under the batch's own token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ..sink import Batch, BatchRefused, SinkUnavailable
from .connect import Address, StoreError, connect, parse_url
from .retry import judged
from .rows import FEEDBACK_COLUMNS, SPAN_COLUMNS, SpanRows, encode_feedback
from .schema import Schema, SchemaError, migrate

INSERT_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of encoded rows. A larger batch is refused, so that the recorder halves it; nothing of it was stored by then."""

_ONE_BLOCK: Final = {
    # A batch is one block in every table, so that it is stored whole or not at all and its token stands for all of it.
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 2 * 1024 * 1024 * 1024,
    "max_partitions_per_insert_block": 0,
    "async_insert": 0,
    # A retry goes through all views again; each target knows what it already has.
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # Spans and generations are written side by side; without it one core waits for the other.
    "parallel_view_processing": 1,
    # In a cluster: return when the shards have it.
    "distributed_foreground_insert": 1,
}


class StoreSettings(Protocol):
    """What the sink needs of `[store]`."""

    @property
    def retention_days(self) -> int: ...

    @property
    def cluster(self) -> str: ...


class ClickHouseSink:
    """Writes through `otel_traces_ingest`. Connects and migrates before the first write, and again after a fault."""

    def __init__(
        self,
        url: str,
        settings: StoreSettings,
        *,
        name: str = "clickhouse",
        resource: Mapping[str, str] | None = None,
        version: str = "0.1.0",
        insert_bytes_max: int = INSERT_BYTES_MAX,
        connector: Callable[..., Client] = connect,
    ) -> None:
        """Raises `ValueError` when `url` is none."""
        try:
            self._address: Address = parse_url(url)
        except StoreError as error:
            raise ValueError(str(error)) from error
        self.name = name
        self._schema = Schema(self._address.database, settings.retention_days, settings.cluster)
        self._rows = SpanRows(resource or {"service.name": "penstock", "service.version": version}, version)
        self._insert_bytes_max = insert_bytes_max
        self._connector = connector
        self._client: Client | None = None
        self._migrated = False

    def write(self, batch: Batch) -> None:
        """Raises `SinkUnavailable` or `BatchRefused`."""
        try:
            client = self._connected()
            # Feedback first: sent again under another token, its table keeps one row by id; records have no such grace.
            if batch.feedback:
                self._insert(
                    client,
                    "feedback",
                    FEEDBACK_COLUMNS,
                    encode_feedback(batch.feedback),
                    "JSONEachRow",
                    batch.token + ".f",
                )
            if batch.records:
                data = self._rows.encode(batch.records)
                if len(data) > self._insert_bytes_max:
                    raise BatchRefused(f"The batch has {len(data)} bytes, one insert {self._insert_bytes_max} at most")
                self._insert(client, "otel_traces_ingest", SPAN_COLUMNS, data, "Native", batch.token)
        except ClickHouseError as error:
            verdict = judged(error)
            if isinstance(verdict, SinkUnavailable):
                self._disconnect()
            raise verdict from error

    def close(self) -> None:
        self._disconnect()

    def _insert(self, client: Client, table: str, columns: tuple[str, ...], data: bytes, fmt: str, token: str) -> None:
        client.raw_insert(table, columns, data, fmt=fmt, settings={**_ONE_BLOCK, "insert_deduplication_token": token})

    def _connected(self) -> Client:
        """Raises `SinkUnavailable`."""
        if self._client is not None:
            return self._client
        try:
            if not self._migrated:
                migrate(self._address, self._schema, connector=self._connector)
                self._migrated = True
            self._client = self._connector(self._address)
        except (StoreError, SchemaError) as error:
            raise SinkUnavailable(str(error)) from error
        return self._client

    def _disconnect(self) -> None:
        """Forget the connection, and look at the schema again before the next write: the server may be another one."""
        client, self._client, self._migrated = self._client, None, False
        if client is not None:
            client.close()
