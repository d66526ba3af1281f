"""The commands of a training at a provider, with a real Penstock between the official SDK and the provider."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.finetune.hosted_commands import KEY, command, document
from tests.e2e.finetune.hosted_run import write_dataset
from tests.e2e.serve import Penstock, penstock, until
from tests.finetune_provider import FinetuneProvider


@pytest.fixture
def provider() -> Iterator[FinetuneProvider]:
    with FinetuneProvider() as server:
        server.knobs.steps = 2
        server.knobs.keys = [KEY]
        yield server


@pytest.fixture
def proxy(provider: FinetuneProvider, tmp_path: Path) -> Iterator[Penstock]:
    with penstock(tmp_path / "proxy", upstreams={"openai": provider.base_url}) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run."""
    monkeypatch.chdir(tmp_path)
    return write_dataset(tmp_path / "penstock-datasets" / "support")


def test_everything_goes_through_penstock_and_is_recorded(
    proxy: Penstock, provider: FinetuneProvider, tmp_path: Path
) -> None:
    asking = ["openai", "support", "--model", "trainable-1", "--run", "first", "--price", "3", "--json"]
    dry = document(command(proxy.base_url, *asking, "--dry-run"))
    assert dry["files"]["training"]["examples"] == 12
    assert 0 < dry["price"]["usd"] < 0.01
    assert not provider.made()

    dear = command(proxy.base_url, *asking, "--yes", "--max-usd", "0.0001")
    assert (dear.returncode, dear.stderr.count("more than --max-usd")) == (1, 1)
    not_agreed = command(proxy.base_url, *asking)
    assert not_agreed.returncode != 0
    assert not (tmp_path / "penstock-runs").exists()
    assert not provider.made()

    provider.knobs.stops_at = "running"
    begun = document(command(proxy.base_url, *asking, "--yes", "--detach"))
    assert (begun["state"], begun["files"]["training"]["bytes"]) == ("running", 1528)
    assert document(command(proxy.base_url, "status", "first", "--json"))["status"] == "queued"
    paused = command(proxy.base_url, "pause", "first")
    assert (paused.returncode, paused.stdout) == (0, f"{begun['job']} is paused.\n"), paused.stderr
    provider.knobs.stops_at = ""
    assert command(proxy.base_url, "resume", "first").returncode == 0
    ended = document(command(proxy.base_url, "watch", "first", "--json"))
    assert (ended["state"], ended["base_url"]) == ("finished", proxy.base_url)
    assert ended["model"] in provider.jobs[begun["job"]].shown["fine_tuned_model"]
    (checkpoint,) = document(command(proxy.base_url, "checkpoints", "first", "--json"))
    assert (checkpoint["step"], checkpoint["model"].rpartition(":")[2]) == (2, "ckpt-step-2")
    assert command(proxy.base_url, "delete-files", "first").stdout == "2 files deleted.\n"
    assert provider.made() == []

    asked = Counter(name.partition("?")[0] for name in provider.asked)
    rows = until(lambda: proxy.rows(), lambda rows: len(rows) >= asked.total(), 60)
    assert len(rows) == asked.total(), "each call once"
    assert {row["status"] for row in rows} == {200}
    assert {row["outcome"] for row in rows} == {"answered"}
    assert not any(KEY in json.dumps(row, default=str) for row in rows)


def test_a_wrong_key_is_one_line(provider: FinetuneProvider) -> None:
    provider.knobs.keys = ["sk-other"]
    done = command(provider.base_url, "openai", "support", "--model", "trainable-1", "--yes")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("penstock: 127.0.0.1:")
    assert line.endswith("does not accept the key. Look at --api-key or OPENAI_API_KEY.")


def test_what_is_openais_is_not_trained_when_it_has_no_point(provider: FinetuneProvider) -> None:
    provider.models["gpt-4.1"] = {"shutdown_date": "2020-01-01"}
    done = command(provider.base_url, "openai", "support", "--model", "gpt-4.1", "--yes")
    assert done.returncode == 1
    assert "gpt-4.1 stopped on 2020-01-01. Train locally: penstock finetune lora support" in done.stderr
    forced = command(provider.base_url, "openai", "support", "--model", "gpt-4.1", "--yes", "--force", "--detach")
    assert forced.returncode == 0, forced.stderr
    assert "Follow it: penstock finetune watch support-gpt-4.1" in forced.stdout
