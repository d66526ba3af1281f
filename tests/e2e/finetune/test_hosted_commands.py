"""The commands of a training at a provider: what they agree on first, and what they remember."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune.hosting.state import State
from finetune.run import Run
from proxy.commands.finetune_hosted_view import shown_on_stderr
from tests.e2e.finetune.hosted_commands import KEY, Done, command, document
from tests.e2e.finetune.hosted_run import write_dataset
from tests.finetune_provider import FinetuneProvider

ASKING = ("openai", "support", "--model", "trainable-1", "--run", "first", "--price", "3")


@pytest.fixture
def provider() -> Iterator[FinetuneProvider]:
    with FinetuneProvider() as server:
        server.knobs.steps = 2
        server.knobs.keys = [KEY]
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run, and no plots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_dataset(tmp_path / "penstock-datasets" / "support")
    return tmp_path


def line(done: Done) -> str:
    """The last one of what went wrong."""
    assert done.returncode == 1, done.stdout
    return done.stderr.splitlines()[-1]


def test_another_job_is_agreed_on_whatever_was_killed(provider: FinetuneProvider, folder: Path) -> None:
    provider.knobs.fail_with = "No."
    assert "--again" in line(command(provider.base_url, *ASKING, "--yes"))
    run = Run.open(folder / "penstock-runs" / "first")
    run.file.state = "running"  # As a kill leaves it between the two files.
    run.save()
    provider.knobs.fail_with = ""
    again = line(command(provider.base_url, *ASKING, "--yes", "--again", "--max-usd", "0.0001"))
    assert "more than --max-usd" in again
    assert len(provider.jobs) == 1
    assert document(command(provider.base_url, *ASKING, "--yes", "--again", "--json"))["state"] == "finished"
    assert len(provider.jobs) == 2


def test_a_run_remembers_the_key_with_the_address(
    provider: FinetuneProvider, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-of-another-provider")
    assert command(provider.base_url, *ASKING, "--yes", "--detach").returncode == 0
    with FinetuneProvider() as other:
        other.knobs.keys, other.knobs.stops_at = ["sk-of-another-provider"], "running"
        other.files, other.jobs = provider.files, provider.jobs
        moved = (*ASKING, "--detach", "--base-url", other.base_url, "--api-key", "env:OTHER_KEY")
        assert command(provider.base_url, *moved).returncode == 0
        hosted = State.open(folder / "penstock-runs" / "first").hosted
        assert (hosted.base_url, hosted.api_key) == (other.base_url, "env:OTHER_KEY")
        assert document(command(provider.base_url, "status", "first", "--json"))["base_url"] == other.base_url
    watched = command(
        other.base_url, "watch", "first", "--base-url", provider.base_url, "--api-key", "env:OPENAI_API_KEY"
    )
    assert watched.returncode == 0, watched.stderr
    assert State.open(folder / "penstock-runs" / "first").hosted.api_key == "env:OPENAI_API_KEY"


def test_the_words_of_a_provider_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    with shown_on_stderr() as shown:
        shown.progress("training", 1, 2, "[/b] running")
    assert "[/b] running" in terminal.getvalue()
