"""`penstock finetune lora`: options that are those of a run, and one line for what cannot be done."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from finetune.training.options import CHANGEABLE, LoraOptions
from proxy.commands import finetune_lora
from proxy.commands.failure import CommandFailed
from proxy.commands.finetune_app import app
from tests import training_set

COMMAND: Any = get_command(app).commands["lora"]  # type: ignore[attr-defined]
PAGE = (Path(__file__).parents[4] / "deploy" / "training.md").read_text()
SECTION = PAGE.partition("\n## LoRA and QLoRA\n")[2].partition("\n## ")[0]


def lora(*words: str) -> Any:
    return COMMAND.main(args=list(words), prog_name="penstock finetune lora", standalone_mode=False)


def test_every_option_of_a_run_can_be_given_and_none_besides() -> None:
    given = {parameter.name for parameter in COMMAND.params} - finetune_lora._OURS
    assert given == {field.name for field in dataclasses.fields(LoraOptions)} - {"dataset"}


def test_what_is_not_given_is_left_to_the_run() -> None:
    assert {parameter.name for parameter in COMMAND.params if parameter.default not in (None, False, "")} == {
        "root",
        "runs",
    }


@pytest.mark.parametrize("field", dataclasses.fields(LoraOptions), ids=lambda field: field.name)
def test_the_page_tells_the_default_that_is_one(field: dataclasses.Field[Any]) -> None:
    if field.name == "dataset":
        return
    row = re.search(rf"^\| `--{field.name.replace('_', '-')}` \| (.*?) \|", SECTION, re.MULTILINE)
    assert row, f"{field.name} is not on the page"
    if field.default in (False, "", 0, 0.0) or field.default is dataclasses.MISSING:
        return
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    assert row[1].strip("`") == (f"{default:g}" if isinstance(default, int | float) else default)


def test_the_page_tells_what_may_be_changed_when_a_run_goes_on() -> None:
    said = SECTION.partition("goes on to the same loss curve. Only")[2].partition("may be given with it")[0]
    assert {name.replace("-", "_") for name in re.findall(r"`--([a-z-]+)`", said)} == CHANGEABLE


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="DATASET --base MODEL, or --resume RUN"):
        lora()
    with pytest.raises(CommandFailed, match="takes no dataset"):
        lora("pirates", "--resume", "x")
    with pytest.raises(CommandFailed, match="There is no dataset pirates"):
        lora("pirates", "--base", "x", "--root", str(tmp_path))
    with pytest.raises(CommandFailed, match="There is no run x"):
        lora("--resume", "x", "--runs", str(tmp_path))


def test_what_a_run_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training_set.small(tmp_path / "pirates")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandFailed, match="There is no folder and no file nowhere"):
        lora("pirates", "--root", ".", "--base", "nowhere")
    with pytest.raises(CommandFailed, match="--rank must be at least 1"):
        lora("pirates", "--root", ".", "--base", "nowhere", "--rank", "0")
    (tmp_path / "pirates" / "train.jsonl").write_text('{"messages": 3}\n')
    with pytest.raises(CommandFailed, match=r"train\.jsonl was changed after it was made"):
        lora("pirates", "--root", ".", "--base", "nowhere")
