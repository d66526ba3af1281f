"""Every command of training, evaluation and promotion is on the page about them, in its section, with its options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from proxy.cli import app as penstock
from proxy.commands.finetune_app import app

PAGE = (Path(__file__).parents[2] / "deploy" / "training.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
SECTION_OF = {
    "finetune advise": "Advice first",
    "finetune lora": "LoRA and QLoRA",
    **dict.fromkeys((f"finetune {name}" for name in ("runs", "show", "serve")), "Runs, and trying one"),
    "evaluate": "Evaluate",
    "promote": "Promote",
}
"""All others are at a provider."""
OF_OTHERS = {
    *("--by", "--variant", "--score-min", "--score-name", "--where"),
    *("--enable-lora", "--multi_gpu", "--evaluated"),
}
"""Options of other commands that the page names."""
EVERYWHERE = {"--json", "--runs", "--root", "--config", "--data-dir"}

_top: dict[str, Any] = get_command(penstock).commands  # type: ignore[attr-defined]
_finetune: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
COMMANDS = {
    **{f"finetune {name}": command for name, command in _finetune.items()},
    **{name: _top[name] for name in ("evaluate", "promote")},
}
OPTIONS = sorted(
    (name, option)
    for name, command in COMMANDS.items()
    for parameter in command.params
    for option in parameter.opts
    if option.startswith("--") and option not in EVERYWHERE
)


def section(name: str) -> str:
    return SECTIONS[SECTION_OF.get(name, "At a provider")]


def test_the_commands_were_found() -> None:
    assert {"finetune lora", "finetune openai", "finetune advise", "finetune serve", "evaluate"} <= COMMANDS.keys()
    assert len(OPTIONS) > 100


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_its_section(name: str) -> None:
    shown = name.removeprefix("finetune ")
    assert re.search(rf"penstock {name}\b|`{shown}( [A-Z]+)?`", section(name))


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_option_is_in_the_section_of_its_command(command: str, option: str) -> None:
    assert re.search(rf"{re.escape(option)}\b(?!-)", section(command)), f"{option} of {command}"


def test_no_option_is_on_the_page_that_there_is_not() -> None:
    known = {option for _, option in OPTIONS} | EVERYWHERE | OF_OTHERS
    written = re.sub(r"<details>.*?</details>", "", PAGE, flags=re.DOTALL)  # there, commands of all kinds were run
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", written)) - known) == []
