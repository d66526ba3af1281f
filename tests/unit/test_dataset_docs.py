"""Every command of datasets, every option of them and every reason why a row is left out is on the page about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from exporters.datasets.formats import CANNOT_SAY
from exporters.datasets.scrubbing.personal_data import DETECTORS
from proxy.commands.dataset_app import app

PAGE = (Path(__file__).parents[2] / "deploy" / "datasets.md").read_text()
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = sorted(
    {
        (name, option)
        for name, command in COMMANDS.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
)


def test_the_commands_were_found() -> None:
    assert {"build", "rebuild", "list", "show", "stats", "diff", "validate", "trace", "forget"} <= COMMANDS.keys()
    assert len(OPTIONS) > 60


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_on_the_page(name: str) -> None:
    assert f"`penstock dataset {name}" in PAGE


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_option_is_on_the_page(command: str, option: str) -> None:
    assert re.search(rf"{re.escape(option)}\b(?!-)", PAGE), f"{option} of {command}"


def test_no_option_is_on_the_page_that_there_is_not() -> None:
    known = {option for _, option in OPTIONS}
    assert sorted(set(re.findall(r"--[a-z][a-z-]+", PAGE)) - known) == []


@pytest.mark.parametrize("name", sorted(CANNOT_SAY))
def test_every_format_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in DETECTORS}))
def test_every_kind_of_private_text_is_on_the_page(kind: str) -> None:
    assert WORDS[kind] in PAGE


WORDS = {
    "API_KEY": "API keys", "CREDENTIALS": "passwords in assignments and addresses", "CREDIT_CARD": "card numbers",
    "CRYPTO_WALLET": "wallets", "EMAIL": "e-mail addresses", "IBAN": "IBANs", "IP_ADDRESS": "IP and MAC addresses",
    "JWT": "JWTs", "MAC_ADDRESS": "IP and MAC addresses", "NATIONAL_ID": "identity numbers", "PHONE": "phone numbers",
    "PRIVATE_KEY": "private keys", "SECRET": "passwords in assignments", "US_SSN": "identity numbers",
}  # fmt: skip
