"""The choices of a training at a provider: what makes no sense, and how a run of them is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.dataset import Dataset, Manifest
from finetune.errors import FinetuneError
from finetune.hosting.options import HostedOptions, name_of
from finetune.hosting.pace import Pace
from finetune.hosting.provider import Provider
from finetune.hosting.replies import TEXT_MAX, one_line


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
