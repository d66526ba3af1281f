"""What several files of deploy/ say about the same thing, they say alike: versions, ports, users, variables, paths."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from proxy.configuration import load
from proxy.job import EMPTY_SPOOL_WITHIN_S, EXIT_MARGIN_S
from proxy.settings import Settings
from proxy.supervisor import DISPATCHER_STOPS_WITHIN_S

from .composed import DEPLOY, FILES, ROOT, VARIANTS, filled, services, variant
from .dockerfile import environment, last, stages

TEXTS = {
    path: path.read_text()
    for path in sorted(DEPLOY.rglob("*"))
    if path.suffix in (".yaml", ".md", ".toml", ".xml", ".conf", ".service", ".example") or path.name == "Dockerfile"
}
EXAMPLES = sorted(path for path in TEXTS if path.suffix == ".toml")
THIRD_PARTIES = (
    "clickhouse/clickhouse-server", "grafana/grafana", "otel/opentelemetry-collector-contrib", "postgres", "redis",
    "nginxinc/nginx-unprivileged", "python",
)  # fmt: skip
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEFAULTS = Settings()


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def images() -> dict[str, dict[str, list[str]]]:
    """Files by tag by image, wherever an image is named with a tag. Penstock's own go by their last word."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    name = "|".join(re.escape(one) for one in THIRD_PARTIES)
    for path, text in TEXTS.items():
        for image, tag in re.findall(rf"(?<![\w/.@-])({name}):([\w][\w.-]*)", text):
            found[image][tag].append(relative(path))
        for tag in re.findall(r"(?<![\w.-])(?:[\w.]+/penstock/)?penstock:(\d[\w.-]*)", text):
            found["penstock"][tag].append(relative(path))
        for tag in re.findall(r"newTag: (\S+)", text):
            found["penstock"][tag.strip("\"'")].append(relative(path))
    return found


def test_every_image_has_one_version() -> None:
    found = images()
    assert {*THIRD_PARTIES, "penstock"} <= set(found)
    assert {image: tags for image, tags in found.items() if image != "penstock" and len(tags) != 1} == {}
    assert set(found["penstock"]) == {PROJECT["version"], f"{PROJECT['version']}-embedded"}


def test_no_image_is_whatever_is_there() -> None:
    """A tag, and one that says at least a major and a minor version where the project has such."""
    named = [(name, settings["image"]) for _, name, settings in services()]
    named += [("Dockerfile", stage.base) for stage in stages().values() if stage.base not in stages()]
    for where, image in named:
        _, _, tag = image.partition(":")
        assert tag, f"{where}: {image} has no tag"
        assert re.match(r"\d+(\.\d+|-)", tag), f"{where}: {image} is not pinned"
    assert [relative(path) for path, text in TEXTS.items() if re.search(r":latest\b", text)] == []


def test_the_server_is_of_the_version_that_was_tested() -> None:
    (tag,) = images()["clickhouse/clickhouse-server"]
    (engine,) = re.findall(r"chdb-core==(\d+\.\d+)\.", TEXTS[DEPLOY / "Dockerfile"])
    assert tag == engine
    assert Version(tag) <= Version(version("chdb-core"))


def test_python_is_one_that_the_package_takes() -> None:
    (tag,) = images()["python"]
    major, minor = re.findall(r"\d+", tag)[:2]
    assert f">={major}.{minor}" == PROJECT["requires-python"]


def test_grafanas_plugin_has_one_version() -> None:
    versions = {
        one for text in TEXTS.values() for one in re.findall(r"grafana-clickhouse-datasource[@ ](\d[\d.]+)", text)
    }
    assert len(versions) == 1


def test_the_ports_are_those_of_the_settings(tmp_path: Path) -> None:
    api, metrics, store = DEFAULTS.server.port, DEFAULTS.metrics.port, DEFAULTS.store.http_port
    for image in ("server", "embedded"):
        assert last(image, "EXPOSE").split() == [str(api), str(metrics)]
    for name in VARIANTS:
        for service, settings in variant(name)["services"].items():
            for port in settings.get("ports", []):
                if service.startswith(("penstock", "balancer")):
                    assert int(filled(port).rpartition(":")[2]) in (api, metrics)
    for path, text in TEXTS.items():
        assert set(re.findall(r"OPENAI_BASE_URL[=\w:/.]*?:(\d+)/v1", text)) <= {str(api)}, relative(path)
        assert set(re.findall(r"@clickhouse:(\d+)/", text)) <= {str(store)}, relative(path)
    assert f"127.0.0.1:{metrics}" in TEXTS[DEPLOY / "prometheus" / "scrape.yaml"]
    for settings in (load_example(path, tmp_path) for path in EXAMPLES):
        assert (settings.server.port, settings.metrics.port) == (api, metrics)


def test_the_balancer_knows_every_penstock() -> None:
    text = TEXTS[DEPLOY / "compose" / "nginx.conf"]
    replicas = {name for name in variant("compose.scale.yaml")["services"] if name.startswith("penstock")}
    assert set(re.findall(r"server ([\w-]+):4100", text)) == replicas
    assert re.findall(r"listen (\d+)", text) == ["4100"]


def test_the_users_of_the_database_are_the_same_everywhere() -> None:
    named = {user for text in TEXTS.values() for user in re.findall(r"\bpenstock_(?:writer|reader)\b", text)}
    assert named == {"penstock_writer", "penstock_reader"}
    for path in (DEPLOY / "compose").glob("*.toml"):
        assert "http://penstock_writer:env:PENSTOCK_WRITER_PASSWORD@clickhouse:8123/penstock" in TEXTS[path]
    for name in VARIANTS:
        grafana = variant(name)["services"]["grafana"]["environment"]
        assert grafana["PENSTOCK_CLICKHOUSE_USER"] == "penstock_reader"
        assert grafana["PENSTOCK_CLICKHOUSE_DATABASE"] == "penstock"
        assert "READER" in grafana["PENSTOCK_CLICKHOUSE_PASSWORD"]


def read_variables(service: dict[str, Any]) -> set[str]:
    """The PENSTOCK_ variables that what a service mounts, or the image itself, reads."""
    texts = [Path(mount.split(":")[0]) for mount in service["volumes"] if mount.startswith("/")]
    found: set[str] = set()
    for source in texts:
        for path in [source] if source.is_file() else source.rglob("*"):
            if path.suffix in (".yaml", ".toml", ".xml"):
                text = path.read_text()
                found |= set(re.findall(r"env:(PENSTOCK_\w+)", text))
                found |= set(re.findall(r'from_env="(PENSTOCK_\w+)"', text))
                found |= set(re.findall(r"^[^#\n]*\$\{?(PENSTOCK_\w+)", text, re.MULTILINE))
    return found


@pytest.mark.parametrize(
    "service", [pytest.param(settings, id=f"{file}-{name}") for file, name, settings in services()]
)
def test_every_variable_that_is_set_is_read_and_the_other_way_round(service: dict[str, Any]) -> None:
    given = {name for name in service.get("environment", {}) if name.startswith("PENSTOCK_")}
    assert given == read_variables(service)


def test_the_images_variables_are_those_of_the_program() -> None:
    source = "".join(path.read_text() for path in (ROOT / "proxy").rglob("*.py"))
    given = {name for name in environment("server") if name.startswith("PENSTOCK_")}
    assert given == {"PENSTOCK_CONFIG"}
    assert all(f'"{name}"' in source for name in given)


def load_example(path: Path, folder: Path) -> Settings:
    """By the real loader, with something for every reference. Raises `ConfigurationError`."""
    text = TEXTS[path]
    environ = dict.fromkeys(re.findall(r"env:(\w+)", text), "env-secret-of-some-length")
    if "PENSTOCK_CLICKHOUSE_URL" in environ:
        environ["PENSTOCK_CLICKHOUSE_URL"] = "http://user:secret@clickhouse:8123/penstock"
    for name in re.findall(r"file:([^\"]+)", text):
        secret = folder / name.strip("/").replace("/", "_")
        scheme = {"clickhouse-url": "http://c/penstock", "redis-url": "redis://r/0", "batch-url": "postgresql://p/d"}
        secret.write_text(scheme.get(Path(name).name, "file-secret-of-some-length") + "\n")
        text = text.replace(name, str(secret))
    config = folder / "penstock.toml"
    config.write_text(text)
    return load(config, {}, environ)


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_every_example_is_a_configuration(path: Path, tmp_path: Path) -> None:
    settings = load_example(path, tmp_path)
    in_container = "systemd" not in path.parts
    assert settings.server.data_dir == ("/data" if in_container else "/var/lib/penstock")
    assert settings.server.host == ("0.0.0.0" if in_container else "127.0.0.1")
    # In a container, loopback is its own; nobody would ever see the metrics.
    assert settings.metrics.host == settings.server.host


def test_the_data_and_the_settings_are_where_the_image_has_them() -> None:
    where, data = environment("server")["PENSTOCK_CONFIG"], last("server", "VOLUME")
    for name in VARIANTS:
        for service, settings in variant(name)["services"].items():
            if service.startswith("penstock"):
                targets = [mount.split(":")[1] for mount in settings["volumes"]]
                assert targets == [data, where]
    text = TEXTS[DEPLOY / "kubernetes" / "base" / "statefulset.yaml"]
    assert where in text
    assert f"mountPath: {data}" in text


def test_one_user_owns_the_data() -> None:
    user, group = last("server", "USER").split(":")
    text = TEXTS[DEPLOY / "kubernetes" / "base" / "statefulset.yaml"]
    assert set(re.findall(r"runAsUser: (\d+)", text)) == {user}
    assert set(re.findall(r"fsGroup: (\d+)", text)) <= {group}


def test_containers_are_given_the_time_that_penstock_takes_to_end() -> None:
    longest = (
        (DEFAULTS.server.shutdown_timeout_s + EXIT_MARGIN_S)
        + DISPATCHER_STOPS_WITHIN_S
        + (EMPTY_SPOOL_WITHIN_S + EXIT_MARGIN_S)
    )
    for name in VARIANTS:
        for service, settings in variant(name)["services"].items():
            if service.startswith("penstock"):
                assert int(settings["stop_grace_period"].removesuffix("s")) > longest


def test_what_grafana_mounts_is_where_its_provisioning_looks() -> None:
    provider = yaml.safe_load(TEXTS[DEPLOY / "grafana" / "provisioning" / "dashboards" / "penstock.yaml"])
    looked_at = provider["providers"][0]["options"]["path"]
    for name in VARIANTS:
        mounts = dict(mount.split(":")[:2] for mount in variant(name)["services"]["grafana"]["volumes"])
        assert mounts[str(DEPLOY / "grafana" / "dashboards")] == looked_at
        assert mounts[str(DEPLOY / "grafana" / "provisioning")] == "/etc/grafana/provisioning"


def test_nobody_names_a_file_that_is_not_there() -> None:
    wrong = [
        f"{relative(path)}: {name}"
        for path, text in TEXTS.items()
        for name in re.findall(r"\bdeploy/[\w./-]+\w", text)
        if not (ROOT / name).exists() and name != "deploy/.env"
    ]
    assert wrong == []
    assert all((DEPLOY / name).is_file() for name in FILES)


def test_examples_are_kept_and_secrets_are_not() -> None:
    """A file of deploy/ that git ignores would be missing for everybody else; deploy/.env must be."""
    names = [*(relative(path) for path in TEXTS), "deploy/.env"]
    asked = ["git", "check-ignore", "--no-index", *names]
    ignored = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout
    assert ignored.split() == ["deploy/.env"]
