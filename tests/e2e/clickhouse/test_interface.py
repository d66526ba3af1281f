"""ClickHouse's HTTP interface as raw HTTP: what clients rely on beyond the rows themselves."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import brotli
import httpx
import lz4.frame
import pytest
import zstandard

from tests.e2e.serve import until
from tests.stores import Store


@pytest.fixture
def http_(store: Store) -> Iterator[httpx.Client]:
    """As the reader."""
    login = store.credentials.reader
    with httpx.Client(
        base_url=f"http://127.0.0.1:{store.port}", auth=(login.user, login.password), timeout=60
    ) as client:
        yield client


@pytest.fixture
def writer(store: Store) -> Iterator[httpx.Client]:
    login = store.credentials.writer
    with httpx.Client(
        base_url=f"http://127.0.0.1:{store.port}", auth=(login.user, login.password), timeout=60
    ) as client:
        yield client


def ask(client: httpx.Client, sql: str, **params: Any) -> httpx.Response:
    return client.post("/", params=params, content=sql.encode())


@pytest.mark.parametrize("path", ["/ping", "/replicas_status"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_anybody_may_ask_whether_it_lives(store: Store, path: str, method: str) -> None:
    answer = httpx.request(method, f"http://127.0.0.1:{store.port}{path}", timeout=60)
    assert (answer.status_code, answer.text) == (200, "Ok.\n" if method == "GET" else "")


def test_a_statement_may_come_in_the_query_string_the_body_or_a_form(http_: httpx.Client) -> None:
    assert http_.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert http_.post("/", content=b"SELECT 2").text == "2\n"
    assert http_.post("/", data={"query": "SELECT {x:Int8}", "param_x": "3"}).text == "3\n"
    assert http_.get("/").text == "Ok.\n"


def test_what_curl_sends_is_a_statement_or_data_though_it_is_called_a_form(writer: httpx.Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert writer.post("/", content=b"SELECT 'a=b&c'", headers=form).text == "a=b&c\n"
    ask(writer, "CREATE TABLE curled (a String) ENGINE = MergeTree ORDER BY a").raise_for_status()
    query = {"query": "INSERT INTO curled FORMAT TSV"}
    writer.post("/", params=query, content=b"query=1\nparam_x=2\n", headers=form).raise_for_status()
    assert ask(writer, "SELECT a FROM curled ORDER BY a").text == "param_x=2\nquery=1\n"


def test_the_format_is_the_statements_else_the_default(http_: httpx.Client) -> None:
    answer = ask(http_, "SELECT 1 AS a FORMAT JSONEachRow")
    assert (answer.text, answer.headers["X-ClickHouse-Format"]) == ('{"a":1}\n', "JSONEachRow")
    answer = ask(http_, "SELECT 1 AS a", default_format="JSONCompact")
    assert answer.json()["data"] == [[1]]
    assert answer.headers["Content-Type"].startswith("application/json")
    answer = ask(http_, "SELECT 'FORMAT JSON' AS a FORMAT CSV SETTINGS max_threads = 1")
    assert answer.text == '"FORMAT JSON"\n'


def test_headers_say_what_was_asked_and_done(http_: httpx.Client, writer: httpx.Client) -> None:
    answer = ask(http_, "SELECT number FROM numbers(3) FORMAT JSON", query_id="mine")
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "3"
    ask(writer, "CREATE TABLE IF NOT EXISTS summary (a Int64) ENGINE = MergeTree ORDER BY a").raise_for_status()
    answer = ask(writer, "INSERT INTO summary FORMAT JSONEachRow\n" + '{"a":1}\n' * 5)
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "5"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM nowhere", 404, 60),
        ("SELECT nothing", 404, 47),
        ("SELEC 1", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115),
        ("", 200, None),
    ],
)
def test_errors_have_their_code_and_status(http_: httpx.Client, sql: str, status: int, code: int | None) -> None:
    answer = ask(http_, sql)
    assert answer.status_code == status
    assert answer.headers.get("X-ClickHouse-Exception-Code") == (None if code is None else str(code))
    if code is not None:
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


def test_another_database_or_an_unknown_setting_in_the_query_string(http_: httpx.Client) -> None:
    assert ask(http_, "SELECT 1", database="nowhere").headers["X-ClickHouse-Exception-Code"] == "497"
    assert ask(http_, "SELECT 1", no_such_setting="1").headers["X-ClickHouse-Exception-Code"] == "115"


def test_settings_hold_for_one_request(http_: httpx.Client) -> None:
    assert ask(http_, "SELECT getSetting('max_block_size')", max_block_size="77").text == "77\n"
    assert ask(http_, "SELECT getSetting('max_block_size')").text != "77\n"


def test_sessions_are_accepted(http_: httpx.Client) -> None:
    answer = ask(http_, "SELECT 1", session_id="s", session_timeout="60", wait_end_of_query="1", readonly="0")
    assert answer.text == "1\n"


def test_parameters_are_values_and_never_sql(http_: httpx.Client) -> None:
    text = "it's {a:String} \\\\ '; DROP TABLE x -- 漢"
    answer = ask(
        http_,
        "SELECT {a:String}, {n:Array(UInt8)}, {t:Identifier} FROM (SELECT 5 AS c) FORMAT JSONCompact",
        param_a=text,
        param_n="[1,2]",
        param_t="c",
    )
    assert answer.json()["data"] == [["it's {a:String} \\ '; DROP TABLE x -- 漢", [1, 2], 5]]


@pytest.mark.parametrize("where", ["basic", "headers", "query"])
def test_credentials_may_come_in_three_ways(store: Store, where: str) -> None:
    login = store.credentials.reader
    url = f"http://127.0.0.1:{store.port}/?query=SELECT+1"
    if where == "basic":
        answer = httpx.get(url, auth=(login.user, login.password), timeout=60)
    elif where == "headers":
        answer = httpx.get(
            url, headers={"X-ClickHouse-User": login.user, "X-ClickHouse-Key": login.password}, timeout=60
        )
    else:
        answer = httpx.get(f"{url}&{urlencode({'user': login.user, 'password': login.password})}", timeout=60)
    assert answer.text == "1\n"


def test_nobody_gets_in_without_the_password(store: Store) -> None:
    url = f"http://127.0.0.1:{store.port}/?query=SELECT+1"
    nothing = httpx.get(url, timeout=60)
    assert (nothing.status_code, nothing.headers["X-ClickHouse-Exception-Code"]) == (401, "194")
    assert nothing.headers["WWW-Authenticate"].startswith("Basic")
    for auth in (("reader", "wrong"), ("penstock", ""), ("default", ""), ("", "")):
        wrong = httpx.get(url, auth=auth, timeout=60)
        assert (wrong.status_code, wrong.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    damaged = httpx.get(url, headers={"Authorization": "Basic %%%"}, timeout=60)
    assert damaged.status_code == 403


DECODERS = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("rows", [0, 1, 300_000])
def test_replies_are_compressed_for_those_who_ask(store: Store, coding: str, rows: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=60)
    login = store.credentials.reader
    headers = {"X-ClickHouse-User": login.user, "X-ClickHouse-Key": login.password, "Accept-Encoding": coding}
    for asked in ("1", "0"):
        connection.request("POST", f"/?enable_http_compression={asked}", f"SELECT * FROM numbers({rows})", headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.getheader("Content-Encoding") == (coding if asked == "1" else None)
        plain = DECODERS[coding](body) if asked == "1" else body
        assert plain == "".join(f"{n}\n" for n in range(rows)).encode()
    connection.close()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("br", brotli.compress),
        ("lz4", lz4.frame.compress),
    ],
)
def test_inserts_may_be_compressed(writer: httpx.Client, coding: str, pack: Any) -> None:
    ask(writer, "CREATE TABLE IF NOT EXISTS packed (a String) ENGINE = MergeTree ORDER BY a").raise_for_status()
    data = "".join(f'{{"a":"{coding}; {n}"}}\n' for n in range(1000)).encode()
    answer = writer.post(
        "/",
        params={"query": "INSERT INTO packed FORMAT JSONEachRow"},
        content=pack(data),
        headers={"Content-Encoding": coding},
    )
    answer.raise_for_status()
    assert ask(writer, f"SELECT count() FROM packed WHERE startsWith(a, '{coding};')").text == "1000\n"


def test_what_is_not_supported_says_so(writer: httpx.Client) -> None:
    for params in ({"compress": "1"}, {"decompress": "1"}):
        answer = ask(writer, "SELECT 1", **params)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (501, "48")
    external = writer.post("/", params={"query": "SELECT * FROM ext"}, files={"ext": ("ext", b"1\n")})
    assert external.status_code == 501
    damaged = writer.post("/", content=b"not lz4", headers={"Content-Encoding": "lz4"})
    assert damaged.status_code == 400


@pytest.mark.parametrize(
    "fmt", ["TSVWithNames", "JSON", "CSVWithNames", "JSONEachRow", "Native", "RowBinary", "Parquet"]
)
def test_a_large_result_is_one_document(http_: httpx.Client, fmt: str) -> None:
    """Over many blocks, where a naive hand-through would repeat headers."""
    answer = ask(http_, f"SELECT number AS n FROM numbers(200000) FORMAT {fmt}", max_block_size="65536")
    assert answer.status_code == 200
    if fmt == "JSON":
        assert len(answer.json()["data"]) == 200_000
    elif fmt.startswith(("TSV", "CSV")):
        assert answer.text.splitlines()[1:] == [str(n) for n in range(200_000)]
    elif fmt == "JSONEachRow":
        assert answer.text.count("\n") == 200_000
    elif fmt == "RowBinary":
        assert len(answer.content) == 8 * 200_000
    elif fmt == "Parquet":
        assert answer.content.count(b"PAR1") == 2


def test_columns_of_an_empty_native_result_are_known(http_: httpx.Client) -> None:
    answer = ask(http_, "SELECT 1 AS a, 'x' AS b WHERE 0 FORMAT Native")
    assert answer.content == b"\x02\x00\x01a\x05UInt8\x01b\x06String"


def test_a_failure_after_the_first_rows_breaks_the_reply(store: Store) -> None:
    login = store.credentials.reader
    sql = "SELECT throwIf(number = 3000000, 'late'), repeat('x', 100) FROM numbers(4000000)"
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.post(
            f"http://127.0.0.1:{store.port}/?max_threads=1",
            content=sql.encode(),
            auth=(login.user, login.password),
            timeout=60,
        )


def test_a_caller_that_leaves_frees_its_statement(store: Store, http_: httpx.Client) -> None:
    login = store.credentials.reader
    body = b"SELECT 'leaver', repeat('x', 1000) FROM numbers(100000000)"
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: {login.user}\r\nX-ClickHouse-Key: {login.password}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", store.port), timeout=60) as leaver:
        leaver.sendall(head.encode() + body)
        assert leaver.recv(65536).startswith(b"HTTP/1.1 200")
    asked = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT \\'leaver%'"
    running = until(lambda: ask(http_, asked).text, lambda text: text == "0\n", 60)
    assert running == "0\n", "the statement of a caller that left still runs"


def test_readers_do_not_wait_for_each_other(store: Store, http_: httpx.Client) -> None:
    """A reader that does not take its result holds nobody up."""
    login = store.credentials.reader
    with httpx.stream(
        "POST",
        f"http://127.0.0.1:{store.port}/",
        content=b"SELECT repeat('x', 1000) FROM numbers(1000000)",
        auth=(login.user, login.password),
        timeout=60,
    ):
        assert [ask(http_, f"SELECT {n}").text for n in range(20)] == [f"{n}\n" for n in range(20)]


def test_get_only_reads(writer: httpx.Client) -> None:
    answer = writer.get("/", params={"query": "CREATE TABLE by_get (a Int8) ENGINE = MergeTree ORDER BY a"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


def test_the_handshake_of_clickhouse_go(http_: httpx.Client) -> None:
    """Its revision is 0: blocks of a later one carry fields that the engine does not write here."""
    answer = ask(http_, "SELECT displayName(), version(), revision(), timezone()", default_format="Native")
    names = [b"displayName()", b"version()", b"revision()", b"timezone()"]
    at = [answer.content.index(name) for name in names]
    assert at == sorted(at)
    revision = answer.content[answer.content.index(b"revision()") + len("revision()") :]
    assert revision[: 1 + len("UInt32") + 4] == b"\x06UInt32\0\0\0\0"
