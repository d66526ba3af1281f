"""The choices of a training at a provider: what makes no sense, and how a run of them is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.dataset import Dataset, Manifest
from finetune.errors import FinetuneError
from finetune.hosting.options import HostedOptions, existing, name_of
from finetune.hosting.pace import Pace
from finetune.hosting.provider import Provider
from finetune.hosting.replies import TEXT_MAX, one_line
from tests.e2e.finetune.hosted_run import write_dataset


def options(**more: Any) -> HostedOptions:
    return HostedOptions(**{"dataset": Path("d"), "model": "m", **more})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"model": ""}, "Which model"),
        ({"beta": 0.1}, "--beta"),
        ({"suffix": "x" * 65}, "--suffix has 65"),
        ({"seed": 2**31}, "--seed takes"),
        ({"wandb_name": "x"}, "need --wandb-project"),
    ],
)
def test_what_makes_no_sense(more: dict[str, Any], says: str) -> None:
    with pytest.raises(FinetuneError, match=says):
        options(**more)
    assert options(objective="dpo", beta=0.1, suffix="x" * 64, seed=2**31 - 1, wandb_project="p", wandb_name="x")


def test_the_name_of_a_run() -> None:
    dataset = Dataset(Path("d"), Manifest(name="support", splits={}, files=[]), "")
    assert name_of(options(model="ft:gpt-4.1:us::id"), dataset) == "support-ft-gpt-4.1-us-id"
    assert name_of(options(model="a/" + "b" * 200), dataset) == ("support-a-" + "b" * 200)[:100]
    assert name_of(options(run="mine"), dataset) == "mine"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/tmp", "a" * 101, "имя", "-a"])
def test_what_is_no_name_of_a_run(tmp_path: Path, name: str) -> None:
    """It is said before anything is asked or touched."""
    dataset = write_dataset(tmp_path / "dataset")
    (tmp_path / ".lock").touch()
    (tmp_path / "runs").mkdir()
    with pytest.raises(FinetuneError, match="is no name of a run"):
        existing(HostedOptions(dataset=dataset, model="m", run=name), tmp_path / "runs")
    assert (tmp_path / ".lock").exists()
    assert (tmp_path / "runs").is_dir()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "notes").touch()
    with pytest.raises(FinetuneError, match=r"mine is there and is no run\. Take another name: --run"):
        existing(HostedOptions(dataset=dataset, model="m", run="mine"), tmp_path / "runs")


@pytest.mark.parametrize(
    "address",
    [
        "api.openai.com/v1",
        "ftp://there",
        "http://",
        "",
        "http://[x",
        "http://h:port",
        "http://h:99999",
        "http://h/\x01",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(FinetuneError, match="is no address of an API"):
        Provider(address, "sk-a", Pace())


@pytest.mark.parametrize("address", ["https://me:secret@there/v1", "https://me:secret@[there/v1", "me:secret@there"])
def test_an_address_with_a_password_is_not_repeated(address: str) -> None:
    with pytest.raises(FinetuneError, match=r"--api-key|--base-url") as caught:
        Provider(address, "sk-a", Pace())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-ключ", "sk-a ", "sk-a\t", "sk a"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(FinetuneError, match="--api-key") as caught:
        Provider("http://there/v1", key, Pace())
    assert key.strip() not in str(caught.value)


def test_words_of_others_are_one_line() -> None:
    assert one_line("a\n b\x1b[31m\tc") == "a b [31m c"
    assert len(one_line("x" * 1000)) == TEXT_MAX
