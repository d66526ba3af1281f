"""The official clients against the embedded store."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from exporters.clickhouse.connect import connect
from tests.stores import Store

NODE = Path(__file__).parent.parent / "node"


def test_the_javascript_client(store: Store) -> None:
    assert (NODE / "node_modules" / "@clickhouse" / "client").is_dir(), "run `npm ci` in tests/e2e/node"
    login = store.credentials.writer
    done = subprocess.run(
        ["node", "store.mjs", f"http://127.0.0.1:{store.port}", login.user, login.password],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["ping"] is True
    assert [row["a"] for row in seen["rows"]] == ["it's; a\\b\n漢"] * 3
    assert seen["written"] == "2"
    assert [row["b"] for row in seen["stored"]["data"]] == ["x; y", "漢"]
    assert seen["streamed"] == 150_000
    assert seen["error"] == {"code": "60", "type": "UNKNOWN_TABLE"}


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip", "br"])
def test_clickhouse_connect_reads_and_writes(store: Store, compress: bool | str) -> None:
    login = store.credentials.writer
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=store.port, username=login.user, password=login.password, compress=compress
    )
    table = f"connect_{compress}".lower()
    client.command(
        f"CREATE TABLE {table} (a Int64, b String, c Nullable(Float64), d DateTime64(3, 'UTC'), "
        "e Map(LowCardinality(String), String), f Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY a"
    )
    at = datetime(2026, 11, 23, 1, 2, 3, 456_000, tzinfo=UTC)
    rows = [[n, f"row; '{n}\n", None if n % 2 else n / 3, at, {"k": "v"}, ["x", "y"]] for n in range(3000)]
    client.insert(table, rows, column_names=["a", "b", "c", "d", "e", "f"])
    stored = client.query(f"SELECT * FROM {table} ORDER BY a", tz_mode="aware").result_rows
    assert [list(row) for row in stored] == rows
    client.close()


def test_clickhouse_connect_streams_a_large_result(store: Store) -> None:
    client = connect(store.url("reader"))
    expected = 0
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as blocks:
        for block in blocks:
            for number, text in block:
                assert (number, text) == (expected, str(expected))
                expected += 1
    assert expected == 500_000
    client.close()


async def test_clickhouse_connect_async(store: Store) -> None:
    login = store.credentials.reader
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1", port=store.port, username=login.user, password=login.password
    )
    answer = await client.query("SELECT {n:UInt8} AS n, 'x' AS s", parameters={"n": 5})
    assert (answer.column_names, answer.result_rows) == (("n", "s"), [(5, "x")])
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        await client.query("SELECT * FROM nowhere")
    await client.close()


def test_an_empty_result_has_its_columns(client: Client) -> None:
    answer = client.query("SELECT 1 AS a, 'x' AS b WHERE a = 2")
    assert (answer.column_names, answer.result_rows) == (("a", "b"), [])


def test_a_long_parameter_goes_as_a_form(client: Client) -> None:
    text = "é'" * 20_000
    answer = client.query("SELECT length({a:String})", parameters={"a": text})
    assert answer.result_rows == [(len(text.encode()),)]
