"""Days on which something around Penstock is broken: callers are served all the same, and one line says what it is."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import httpx
import pytest

from tests.stores import Store, embedded_store
from tests.wire.scripted import json_reply

from .serve import Penstock, penstock, until
from .stage import Stage, chat_reply

LINES_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with embedded_store(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


def _serve_and_call(tmp_path: Path, stage: Stage, clickhouse: str, said: str, password: str = "") -> None:
    """Calls are answered, `said` comes once and no traceback, and a second call neither waits nor repeats it."""
    stage.play(json_reply(chat_reply()))
    began_s = time.monotonic()
    upstream = {"stage": f"{stage.url}/v1"}
    options = {"sections": {"store": {"clickhouse": clickhouse}}, "environ": {"STORE_PASSWORD": password}}
    with penstock(tmp_path, upstreams=upstream, **options) as proxy, httpx.Client(timeout=60) as client:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}
        assert client.post(f"{proxy.base_url}/chat/completions", json=body).status_code == 200
        until(proxy.output, lambda text: said in text, LINES_WITHIN_S)
        assert said in proxy.output()
        assert client.post(f"{proxy.base_url}/chat/completions", json=body).status_code == 200
        until(proxy.output, lambda text: text.count("  gpt-4o-mini ") == 2, LINES_WITHIN_S)
        output = proxy.output()
        assert output.count("  gpt-4o-mini ") == 2  # the terminal is a sink of its own
        # Samples of its own health, of which the first comes after two seconds, have a line beside that of the calls.
        lines = [line for line in output.splitlines() if said in line and "own health" not in line]
        # Once a minute, however long this takes.
        assert 1 <= len(lines) <= 1 + (time.monotonic() - began_s) // 60
        assert "Traceback" not in output
        assert password not in output or not password


def test_clickhouse_is_down(tmp_path: Path, stage: Stage) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/penstock"
        _serve_and_call(tmp_path, stage, url, f"ClickHouse at {url} cannot be reached")


def test_a_wrong_password(tmp_path: Path, stage: Stage, store: Store) -> None:
    url = f"http://penstock:env:STORE_PASSWORD@127.0.0.1:{store.port}/penstock"
    _serve_and_call(tmp_path, stage, url, "(code 516)", password="wrong-and-secret")


def test_a_schema_of_the_future(tmp_path: Path, stage: Stage, store: Store) -> None:
    login = store.credentials.writer
    with clickhouse_connect.get_client(dsn=store.credentials.url(store.port, "writer")) as client:
        client.command("CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, checksum String,"
                       " applied_at DateTime64(3)) ENGINE = ReplacingMergeTree ORDER BY version")  # fmt: skip
        client.command("INSERT INTO schema_migrations SELECT 9999, 'later', '', now64()")
    url = f"http://{login.user}:env:STORE_PASSWORD@127.0.0.1:{store.port}/penstock"
    _serve_and_call(tmp_path, stage, url, "upgrade Penstock, or use another database", password=login.password)


def test_a_recorder_that_was_stopped_and_continued_goes_on(tmp_path: Path, stage: Stage) -> None:
    """As in a container that is paused."""
    stage.play(json_reply(chat_reply()))
    with penstock(tmp_path, upstreams={"stage": f"{stage.url}/v1"}) as proxy:
        body = {"model": "gpt-4o-mini", "messages": []}
        httpx.post(f"{proxy.base_url}/chat/completions", json=body, timeout=60)
        assert len(proxy.wait_rows("1", {})) == 1
        (recorder,) = proxy.child("proxy.recording")
        recorder.suspend()
        time.sleep(1.5)  # longer than it waits for anything
        recorder.resume()
        httpx.post(f"{proxy.base_url}/chat/completions", json=body, timeout=60)
        assert len(proxy.wait_rows("1", {}, count=2)) == 2
        assert proxy.child("proxy.recording") == [recorder]
        assert proxy.stop() == 0
    assert "started again" not in proxy.output()


def test_a_malformed_configuration_is_one_line(tmp_path: Path) -> None:
    stopped = Penstock(tmp_path, upstreams={"nobody": "http://127.0.0.1:1/v1"})
    stopped.config_path.write_text("[server]\nprot = 1\n")
    done = stopped.command("serve", "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "prot" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_of_the_store_that_is_occupied(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        upstream = {"nobody": "http://127.0.0.1:1/v1"}
        stopped = Penstock(tmp_path, upstreams=upstream, sections={"store": {"http_port": port}})
        done = stopped.command("serve")
    assert done.returncode == 1
    assert done.stderr == (
        f"penstock: Port {port} on 127.0.0.1 is occupied by another program. Stop it, or choose another port with "
        "store.http_port.\n"
    )


def test_an_unwritable_directory(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    done = Penstock(tmp_path, upstreams={"nobody": "http://127.0.0.1:1/v1"}).command("serve")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Cannot write to the data directory" in done.stderr


def test_a_taken_metrics_port_costs_only_the_metrics(tmp_path: Path, stage: Stage) -> None:
    stage.play(json_reply(chat_reply()))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        options = {"sections": {"metrics": {"port": port}}}
        with penstock(tmp_path, upstreams={"stage": f"{stage.url}/v1"}, **options) as proxy:
            until(proxy.output, lambda text: "no metrics" in text, LINES_WITHIN_S)
            assert f"cannot listen on 127.0.0.1:{port}" in proxy.output()
            body = {"model": "gpt-4o-mini", "messages": []}
            httpx.post(f"{proxy.base_url}/chat/completions", json=body, timeout=60)
            assert len(proxy.wait_rows("1", {})) == 1
