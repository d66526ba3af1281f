"""`check --probe` and a real ClickHouse: its version, its tables, and the right to write without leaving a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from exporters.clickhouse.credentials import store_credentials
from exporters.clickhouse.schema import migrations
from proxy.cli import app
from tests.wire.otlp_endpoint import Endpoint, http_endpoint

from .serve import Penstock, penstock, until


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with http_endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def house(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    base_url = f"{endpoint.url.removesuffix('/v1/traces')}/v1"
    table = f'[[otlp]]\npreset = "collector"\nendpoint = "{endpoint.url}"\nname = "here"\n'
    with penstock(tmp_path_factory.mktemp("probe"), upstreams={"up": base_url}, config=table) as running:
        applied = "SELECT count() AS applied FROM schema_migrations"
        until(lambda: running.query(applied), lambda rows: rows == [{"applied": len(migrations())}], 60)
        yield running


def probed(config: Path, environ: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["check", "--probe", "--json", "-c", str(config)], env=environ)
    return done.exit_code, {one["name"]: one for one in json.loads(done.stdout)["probes"]}


def as_server(house: Penstock, tmp_path: Path, url: str) -> tuple[int, dict[str, Any]]:
    """The embedded engine as another Penstock sees it: a ClickHouse with an address."""
    config = tmp_path / "penstock.toml"
    base_url = house.config_path.read_text().partition('base_url = "')[2].partition('"')[0]
    config.write_text(
        f'[server]\ndata_dir = "{tmp_path}/data"\n[store]\nclickhouse = "env:STORE"\n'
        f'[[upstreams]]\nname = "up"\nbase_url = "{base_url}"\n'
    )
    return probed(config, {"STORE": url})


def url_of(house: Penstock, role: Any) -> str:
    port = int(house.store_url.rpartition(":")[2])
    return store_credentials(house.data_dir / "store").url(port, role)


def test_all_is_well_and_nothing_is_left_behind(house: Penstock, endpoint: Endpoint) -> None:
    code, found = probed(house.config_path)
    assert code == 0, found
    said = found["clickhouse"]["said"]
    assert said.startswith("ClickHouse 26.")
    assert said.endswith("tables up to date, may write")
    assert "took a test span" in found["here"]["said"]
    assert [span.name for span in endpoint.spans] == ["penstock probe"]
    for table in ("otel_traces", "generations"):
        assert house.query(f"SELECT count() AS rows FROM {table}") == [{"rows": 0}]


def test_who_may_only_read_is_told_so(house: Penstock, tmp_path: Path) -> None:
    code, found = as_server(house, tmp_path, url_of(house, "reader"))
    assert code == 1
    assert "the user may only read" in found["clickhouse"]["said"]


def test_a_wrong_password(house: Penstock, tmp_path: Path) -> None:
    password = url_of(house, "writer").partition("://")[2].partition("@")[0].partition(":")[2]
    code, found = as_server(house, tmp_path, url_of(house, "writer").replace(password, "hunter2"))
    assert code == 1
    assert "the user or the password is wrong" in found["clickhouse"]["said"]
    assert "hunter2" not in json.dumps(found)


def test_a_database_without_tables_is_not_made(house: Penstock, tmp_path: Path) -> None:
    url = url_of(house, "writer").rpartition("/")[0] + "/another"
    code, found = as_server(house, tmp_path, url)
    assert code == 0
    assert f"{len(migrations())} migrations behind: `penstock serve` applies them" in found["clickhouse"]["said"]
    assert house.query("SELECT count() AS made FROM system.databases WHERE name = 'another'") == [{"made": 0}]
