"""`penstock promote` without a proxy that runs: what it says, what it writes, and what it leaves as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from finetune.promotions import read_steps
from proxy.cli import app
from proxy.commands.failure import CommandFailed
from proxy.commands.promote_file import Configuration
from proxy.configuration import ConfigurationError
from proxy.data_dir import DataDir, Serving
from tests.unit.finetune.test_promote import evaluated, run

NOWHERE = "http://127.0.0.1:9/v1"
PLACE = ("--url", NOWHERE, "--force")

Promote = Callable[..., Any]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "penstock.toml"
    path.parent.mkdir()
    path.write_text(f'[server]\ndata_dir = "{tmp_path / "data"}"  # here\n')
    return path


@pytest.fixture
def promote(tmp_path: Path, toml: Path) -> Promote:
    run(tmp_path, evaluated(0.1, 0.05, 0.2))

    def invoke(*arguments: str, says: str = "") -> str:
        given = ["promote", *arguments, "--config", str(toml), "--runs", str(tmp_path / "runs")]
        done = CliRunner().invoke(app, given)
        if says:
            assert isinstance(done.exception, CommandFailed | ConfigurationError), done.output
            assert says in str(done.exception)
            assert "\n" not in str(done.exception)
        else:
            assert done.exception is None, done.exception
        return done.stdout

    return invoke


def weights(toml: Path) -> dict[str, float]:
    (alias,) = tomllib.loads(toml.read_text())["models"]
    return {one["name"]: one["weight"] for one in alias["variants"]}


def test_a_canary_all_of_it_and_back_when_the_run_is_gone(tmp_path: Path, toml: Path, promote: Promote) -> None:
    before = toml.read_text()
    toml.chmod(0o640)
    said = promote("v1", "--alias", "bot", "--canary", "10%", "--model", "asked-so", *PLACE)
    assert toml.read_text().startswith(before)
    assert toml.stat().st_mode & 0o777 == 0o640
    assert "v1         -  →     10%" in said
    assert '+name = "bot"' in said
    assert "it is used when Penstock loads it" in said
    promote("v1", "--alias", "bot", "--to", "100%")
    assert tomllib.loads(toml.read_text())["models"][0]["variants"][1]["model"] == "asked-so"
    assert weights(toml) == {"base": 0, "v1": 100}
    log = read_steps(tmp_path / "runs" / "v1" / "promotions.jsonl")
    assert [(step.action, step.after) for step in log] == [
        ("promote", {"base": 90, "v1": 10}),
        ("promote", {"base": 0, "v1": 100}),
    ]
    assert all(step.at and step.who for step in log)
    (tmp_path / "runs" / "v1").rename(tmp_path / "away")
    promote("--alias", "bot", "--rollback")
    assert weights(toml) == {"base": 100}
    assert [one["name"] for one in tomllib.loads(toml.read_text())["upstreams"]] == ["openai"]
    promote("--alias", "bot", "--rollback", says="Nothing was promoted to bot")
    assert sorted(path.name for path in toml.parent.iterdir()) == ["penstock.toml", "penstock.toml.promotions.jsonl"]


def test_one_that_is_worse_is_refused_unless_forced(tmp_path: Path, toml: Path, promote: Promote) -> None:
    before = toml.read_text()
    worse = tmp_path / "runs" / "v1" / "evaluation.json"
    worse.write_bytes(msgspec.json.encode(evaluated(-0.2, -0.3, -0.1)))
    promote("v1", "--alias", "bot", "--canary", "10%", "--upstream", "openai", says="v1 is worse than gpt-5-mini")
    assert toml.read_text() == before
    said = promote("v1", "--alias", "bot", "--canary", "10%", *PLACE)
    assert "forced   v1 is worse" in said
    assert "is worse" in read_steps(tmp_path / "runs" / "v1" / "promotions.jsonl")[0].forced
    promote("v1", "--alias", "bot", "--to", "50%", says="is worse")
    promote("v1", "--alias", "bot", "--to", "5%")  # less of it is always right
    assert weights(toml) == {"base": 95, "v1": 5}


def test_a_dry_run_changes_nothing(tmp_path: Path, toml: Path, promote: Promote) -> None:
    before = toml.read_text()
    shown = json.loads(promote("v1", "--alias", "bot", "--canary", "10%", *PLACE, "--dry-run", "--json"))
    assert (shown["after"], shown["in_use"], shown["dry_run"]) == ({"base": 90, "v1": 10}, False, True)
    assert '+model = "gpt-5-mini"' in shown["diff"]
    assert toml.read_text() == before
    assert [path.name for path in toml.parent.iterdir()] == ["penstock.toml"]
    assert not (tmp_path / "runs" / "v1" / "promotions.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("v1", "--canary", "10%"), "--alias NAME"),
        (("v1", "--alias", "bot"), "Say one of --canary 10%"),
        (("v1", "--alias", "bot", "--canary", "10%", "--rollback"), "Say one of"),
        (("v1", "--alias", "bot", "--canary", "0.1"), "is not a share"),
        (("v1", "--alias", "bot", "--to", "101%"), "is not a share"),
        (("--alias", "bot", "--to", "10%"), "Say which run"),
        (("v9", "--alias", "bot", "--to", "10%"), "There is no run v9"),
        (("v1", "--alias", "bot", "--to", "10%"), "Say where v1 is served: --url"),
        (("v1", "--alias", "bot", "--to", "10%", "--url", NOWHERE), "cannot be reached"),
        (("v1", "--alias", "bot", "--to", "10%", "--upstream", "gpu"), "There is no upstream gpu"),
        (("v1", "--alias", "bot", "--to", "10%", "--sticky", "ip", *PLACE), "--sticky 'ip' is not known"),
        (("v1", "--alias", "b\u00f6t", "--to", "10%", *PLACE), "models[0].name: write visible ASCII"),
        (("v1", "--alias", "bot", "--to", "10%", "--url", "nowhere"), "upstreams[1].base_url"),
        (("v1", "--alias", "bot", "--to", "10%", "--url", "http://[::1"), "upstreams[1].base_url"),
        (("v1", "--alias", "bot", "--to", "10%", "--url", "http://127.0.0.1:99999/v1"), "upstreams[1].base_url"),
        (("v1", "--alias", "bot", "--to", "10%", *PLACE, "--api-key", "sk-1"), "upstreams[1].api_key: write env:NAME"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    toml: Path, promote: Promote, arguments: tuple[str, ...], says: str
) -> None:
    before = toml.read_text()
    promote(*arguments, says=says)
    assert toml.read_text() == before


def test_without_a_configuration_there_is_nothing_to_change(
    tmp_path: Path, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["promote", "v1", "--alias", "bot", "--to", "10%"])
    assert "There is no configuration to change" in str(done.exception)


def test_a_link_stays_one(tmp_path: Path, toml: Path) -> None:
    run(tmp_path, evaluated(0.1, 0.05, 0.2))
    link = tmp_path / "linked.toml"
    link.symlink_to(toml)
    given = ["promote", "v1", "--alias", "bot", "--to", "10%", *PLACE]
    done = CliRunner().invoke(app, [*given, "--config", str(link), "--runs", str(tmp_path / "runs")])
    assert done.exception is None
    assert link.is_symlink()
    assert weights(toml) == {"base": 90, "v1": 10}


def test_a_file_with_the_ends_of_lines_of_windows_keeps_them(toml: Path, promote: Promote) -> None:
    before = toml.read_bytes().replace(b"\n", b"\r\n")
    toml.write_bytes(before)
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE)
    after = toml.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == after.count(b"\r\n")
    promote("--alias", "bot", "--rollback")
    assert weights(toml) == {"base": 100}


def test_what_somebody_writes_meanwhile_is_not_written_over(toml: Path) -> None:
    file = Configuration.at(toml)
    toml.write_text("# mine\n")
    with pytest.raises(CommandFailed, match=r"changed .*penstock\.toml meanwhile"):
        file.put("[server]\n", over=file.text)
    assert [path.read_text() for path in toml.parent.iterdir()] == ["# mine\n"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")
def test_the_file_stays_its_owners_when_root_changes_it(toml: Path, promote: Promote) -> None:
    os.chown(toml, 4711, 4712)
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE)
    assert (toml.stat().st_uid, toml.stat().st_gid) == (4711, 4712)


def test_a_journal_that_cannot_be_written_stops_it(toml: Path, promote: Promote) -> None:
    before = toml.read_text()
    (toml.parent / "penstock.toml.promotions.jsonl").mkdir()
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE, says="promotions.jsonl cannot be written: Is a directory")
    assert toml.read_text() == before


def test_a_roll_back_that_did_not_come_into_the_file_can_be_done_again(
    toml: Path, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE)

    def full(self: Configuration, text: str, *, over: str) -> None:
        raise CommandFailed("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Configuration, "put", full)
        promote("--alias", "bot", "--rollback", says="No space left")
    assert weights(toml) == {"base": 90, "v1": 10}
    promote("--alias", "bot", "--rollback")
    assert weights(toml) == {"base": 100}


def test_a_roll_back_of_what_is_not_in_the_file_is_noted_and_leads_to_the_one_before(
    toml: Path, promote: Promote
) -> None:
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE)
    kept = toml.read_text()
    run(toml.parent.parent, evaluated(0.1, 0.05, 0.2), name="v2")
    promote("v2", "--alias", "bot", "--to", "10%", *PLACE)
    toml.write_text(kept)  # as if it had been killed before it wrote
    promote("--alias", "bot", "--rollback")
    assert toml.read_text() == kept
    promote("--alias", "bot", "--rollback")
    assert weights(toml) == {"base": 100}


def test_a_warning_is_given_for_what_is_new_and_odd(toml: Path, promote: Promote) -> None:
    said = promote("v1", "--alias", "bot", "--to", "10%", "--url", "http://gpu.example/v1", "--force")
    assert "warning  models[0].variants[1].upstream: v1 has no api_key" in said.replace("\n", " ")


def test_a_proxy_that_reads_another_file_stops_it(tmp_path: Path, toml: Path, promote: Promote) -> None:
    before = toml.read_text()
    held = DataDir.claim(tmp_path / "data")
    note = Serving(pid=os.getpid(), host="h", port=1, store_url="", metrics_port=0, started=0)
    held.publish(msgspec.structs.replace(note, configuration="/etc/other.toml"))
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE, says="reads /etc/other.toml, not")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        held.publish(msgspec.structs.replace(note, configuration=str(toml), pid=stranger.pid))
        promote("v1", "--alias", "bot", "--to", "10%", *PLACE, says="is not a process that can be seen here")
        assert stranger.poll() is None
        stranger.kill()
    assert toml.read_text() == before
    promote("v1", "--alias", "bot", "--to", "10%", *PLACE, "--no-reload")
    held.release()
    assert weights(toml) == {"base": 90, "v1": 10}
