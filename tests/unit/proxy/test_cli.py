"""The command line without a store: help, usage, and faults that are found before anything starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from proxy.commands.failure import CommandFailed
from proxy.commands.stats import GROUPS
from proxy.configuration import ConfigurationError

COMMANDS = ("serve", "check", "tail", "requests", "stats", "batch", "migrate")


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in COMMANDS), ["requests", "show", "-h"]]
)
def test_help(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "Usage:" in done.stdout
    if arguments == ["--help"]:
        assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nonsense"], ["serve", "--prot", "1"], ["serve", "--port", "x"], ["serve", "--port", "70000"],
        ["serve", "--workers", "0"], ["requests", "show"], ["requests", "--limit", "0"],
    ],
)  # fmt: skip
def test_what_is_not_understood_is_a_usage_error(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[server]\nprot = 1", "prot"),
        ("[server", "is not valid TOML"),
        ('[server]\nport = "x"', "server.port"),
        ('[store]\nclickhouse = "http://u:env:NOT_SET_ANYWHERE@db:8123"', "NOT_SET_ANYWHERE"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check", "stats"])
def test_a_malformed_configuration_starts_nothing(tmp_path: Path, command: str, toml: str, said: str) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text(toml)
    done = CliRunner().invoke(app, [command, "--config", str(path)])
    assert isinstance(done.exception, ConfigurationError)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    "arguments",
    [["stats", "--by", "colour"], ["stats", "--by", "tag:"], ["requests", "--status", "4x"], ["tail", "--status", "x"]],
)
def test_what_no_report_can_be_about_is_said_without_a_store(tmp_path: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)])
    assert isinstance(done.exception, CommandFailed)
    assert arguments[1] in str(done.exception)


def test_help_names_every_way_to_group() -> None:
    said = CliRunner().invoke(app, ["stats", "--help"]).stdout
    assert all(re.search(rf"\b{name}\b", said) for name in GROUPS)


def test_serve_refuses_to_be_reachable_without_keys(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "data")])
    assert "server.host: 0.0.0.0 can be reached by others" in str(done.exception)
    assert not (tmp_path / "data").exists()


def test_a_failure_is_one_line_and_status_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "check", "--config", str(tmp_path / "nowhere.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"penstock: {tmp_path}/nowhere.toml: there is no such file\n"


def test_the_file_of_the_current_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "http://127.0.0.1:4100" in CliRunner().invoke(app, ["check"]).stdout
    Path("penstock.toml").write_text("[server]\nport = 4321")
    assert "http://127.0.0.1:4321" in CliRunner().invoke(app, ["check"]).stdout
    Path("other.toml").write_text("[server]\nport = 4322")
    assert "http://127.0.0.1:4322" in CliRunner().invoke(app, ["check", "-c", "other.toml"]).stdout
    monkeypatch.setenv("PENSTOCK_CONFIG", "other.toml")
    assert "http://127.0.0.1:4322" in CliRunner().invoke(app, ["check"]).stdout


@pytest.mark.parametrize("arguments", [["check"], ["check", "--json"]])
def test_check_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "hunter2")
    path = tmp_path / "penstock.toml"
    path.write_text(
        '[[upstreams]]\nname = "a"\nbase_url = "https://api.openai.com/v1"\napi_key = "env:SECRET_OF_MINE"\n'
        '[store]\nclickhouse = "http://u:env:SECRET_OF_MINE@h:8123/d"\n'
        '[[otlp]]\nendpoint = "http://127.0.0.1:4318"\nheaders = { authorization = "env:SECRET_OF_MINE" }\n'
    )
    done = CliRunner().invoke(app, [*arguments, "--config", str(path)])
    assert done.exit_code == 0, done.output
    assert "api.openai.com" in done.stdout
    assert "hunter2" not in done.output
