"""`check --probe` against endpoints, databases and a Redis that answer, refuse, are silent or are not there."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from exporters.otlp_probe import MARK
from proxy.cli import app
from proxy.commands.probe import Question, Said, answers
from tests.ports import held_port
from tests.postgres import postgresql
from tests.wire.otlp_endpoint import Endpoint, attributes_of, grpc_endpoint, http_endpoint
from tests.wire.test_cache_redis import running

KEYS = {
    "LANGFUSE_PUBLIC_KEY": "pk-1",
    "LANGFUSE_SECRET_KEY": "hunter2",
    "WANDB_API_KEY": "hunter2",
    "MINE": "Bearer hunter2",
}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with http_endpoint() as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """A port that is taken and on which nobody listens."""
    with held_port() as port:
        yield f"127.0.0.1:{port}"


def probed(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Exit status, and what each was found to be, by name. The upstream answers well."""
    path = tmp_path / "penstock.toml"
    with http_endpoint() as upstream:
        table = f'[[upstreams]]\nname = "up"\nbase_url = "{upstream.url.removesuffix("/v1/traces")}/v1"\n'
        path.write_text(f'[server]\ndata_dir = "{tmp_path}/data"\n{text}{table}')
        arguments = ["check", "--probe", "--json", "-c", str(path)]
        done = CliRunner().invoke(app, arguments, env=KEYS | (environ or {}))
    assert "hunter2" not in done.output
    found = {one["name"]: one for one in json.loads(done.stdout)["probes"]}
    assert found["up"] == {"kind": "upstream", "name": "up", "ok": True, "said": "answers, and wants the caller's key"}
    assert done.exit_code == (0 if all(one["ok"] for one in found.values()) else 1)
    return done.exit_code, found


def test_an_endpoint_gets_one_span_without_anything(tmp_path: Path, endpoint: Endpoint) -> None:
    text = f'[[otlp]]\npreset = "weave"\nentity = "e"\nproject = "p"\nendpoint = "{endpoint.url}"\n'
    _, found = probed(tmp_path, text)
    assert found[f"otlp-weave-{endpoint.url}"] == {
        "kind": "spans",
        "name": f"otlp-weave-{endpoint.url}",
        "ok": True,
        "said": f"took a test span at {endpoint.url}",
    }
    (span,) = endpoint.spans
    assert (span.name, attributes_of(span)) == ("penstock probe", {MARK: True})
    assert endpoint.headers[0]["wandb-api-key"] == "hunter2"
    assert attributes_of(endpoint.requests[0].resource_spans[0].resource)["wandb.project"] == "p"


LANGFUSE = '[[otlp]]\npreset = "langfuse"\nname = "x"\n'
WEAVE = '[[otlp]]\npreset = "weave"\nname = "x"\nentity = "e"\nproject = "p"\n'
PLAIN = '[[otlp]]\nname = "x"\nheaders = { authorization = "env:MINE" }\n'


@pytest.mark.parametrize(
    ("table", "status", "says"),
    [
        (LANGFUSE, 401, "check otlp[0].public_key, otlp[0].secret_key (LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY)"),
        (WEAVE, 403, "check otlp[0].api_key (WANDB_API_KEY)"),
        (WEAVE, 404, "check otlp[0].endpoint, otlp[0].entity, otlp[0].project"),
        (PLAIN, 401, "check otlp[0].headers"),
        (PLAIN, 405, "check otlp[0].endpoint"),
        (PLAIN, 400, "refuses the test span"),
        (PLAIN, 503, "cannot be reached or is busy"),
    ],
)
def test_who_refuses_is_told_with_the_setting(
    tmp_path: Path, endpoint: Endpoint, table: str, status: int, says: str
) -> None:
    endpoint.answers = [status]
    code, found = probed(tmp_path, f'{table}endpoint = "{endpoint.url}"\n')
    assert code == 1
    assert not found["x"]["ok"]
    assert f"HTTP {status}" in found["x"]["said"]
    assert says in found["x"]["said"]


def test_a_span_that_is_thrown_away_is_no_success(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.rejects = 1
    _, found = probed(tmp_path, f'{PLAIN}endpoint = "{endpoint.url}"\n')
    assert not found["x"]["ok"]
    assert "threw the span away: it does not say why" in found["x"]["said"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "took a test span"),
        (grpc.StatusCode.UNAUTHENTICATED, "does not let Penstock in"),
        (grpc.StatusCode.UNIMPLEMENTED, "takes no spans there"),
    ],
)
def test_over_grpc(tmp_path: Path, answer: Any, says: str) -> None:
    with grpc_endpoint() as endpoint:
        endpoint.answers = [answer]
        _, found = probed(tmp_path, f'{PLAIN}endpoint = "{endpoint.url}"\nprotocol = "grpc"\n')
    assert says in found["x"]["said"]
    assert found["x"]["ok"] == (answer is None)


def test_an_endpoint_that_is_not_there(tmp_path: Path, nobody: str) -> None:
    code, found = probed(tmp_path, f'{PLAIN}endpoint = "http://{nobody}"\n')
    assert code == 1
    assert "cannot be reached" in found["x"]["said"]


def test_the_environments_endpoint_is_asked_too(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.answers = [401]
    _, found = probed(tmp_path, "", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint.url})
    assert "check OTEL_EXPORTER_OTLP_HEADERS" in found["otlp-environment"]["said"]
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
    _, found = probed(tmp_path, "", environ)
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in found["otlp-environment"]["said"]


def test_who_is_silent_is_left_behind() -> None:
    silence = threading.Event()

    def ask() -> Said:
        silence.wait()
        return Said(True, "late")

    asked = [Question("spans", "quick", lambda: Said(True, "here")), Question("spans", "silent", ask)]
    # The time is over when the second one is waited for, and not before.
    quick, silent = answers(asked, within_s=60.0, monotonic=iter([0.0, 0.0, 60.0]).__next__)
    silence.set()
    assert (quick.ok, quick.said) == (True, "here")
    assert (silent.ok, silent.said) == (False, "does not answer within 60 s")


def test_a_store_that_is_not_there(tmp_path: Path, nobody: str) -> None:
    code, found = probed(tmp_path, f'[store]\nclickhouse = "http://penstock:env:LANGFUSE_SECRET_KEY@{nobody}/d"\n')
    assert code == 1
    assert found["clickhouse"]["said"].startswith(f"ClickHouse at http://{nobody}/d cannot be reached")


def test_an_embedded_store_that_is_not_open_is_no_fault(tmp_path: Path) -> None:
    _, found = probed(tmp_path, "")
    assert found["clickhouse"]["ok"]
    assert "opens with `penstock serve`" in found["clickhouse"]["said"]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis(tmp_path: Path) -> None:
    with running(tmp_path) as redis:
        _, found = probed(tmp_path, f'[cache]\nredis = "{redis.url}"\n')
        assert found["redis"] == {"kind": "cache", "name": "redis", "ok": True, "said": "answers"}
        redis.kill()
        code, found = probed(tmp_path, f'[cache]\nredis = "{redis.url}"\n')
    assert code == 1
    assert found["redis"]["said"] == "does not answer (ConnectionError): check cache.redis"


def test_a_queue_in_postgresql(tmp_path: Path) -> None:
    with postgresql() as server:
        url = server.new()
        _, found = probed(tmp_path, '[batch]\nurl = "env:QUEUE"\n', {"QUEUE": url})
        assert found["postgresql"]["said"] == "answers, without tables: `penstock serve` makes them"
        with server.connect(url.rpartition("/")[2]) as connection:
            row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert row == (0,), "looking makes no tables"
    code, found = probed(tmp_path, '[batch]\nurl = "env:QUEUE"\n', {"QUEUE": url})
    assert code == 1
    assert "check batch.url" in found["postgresql"]["said"]
