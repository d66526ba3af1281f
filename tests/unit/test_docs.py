"""Whatever a person can set, send, call or be answered is in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from proxy.cli import app
from proxy.setting_docs import as_markdown

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "deploy" / "configuration.md").read_text()
SOURCES = {path: path.read_text() for path in sorted((ROOT / "proxy").rglob("*.py"))}


def found(pattern: str) -> list[str]:
    return sorted({match for text in SOURCES.values() for match in re.findall(pattern, text)})


def test_every_setting_is_documented_as_it_is() -> None:
    assert as_markdown().strip() in CONFIGURATION


@pytest.mark.parametrize("name", found(r"x-penstock-[a-z]+(?:-[a-z]+)*"))
def test_every_header_is_documented(name: str) -> None:
    assert f"`{name}`" in CONFIGURATION


@pytest.mark.parametrize("code", found(r'code="([a-z_]+)"') + found(r'"((?:first_byte|idle|total|connect)_timeout)"'))
def test_every_error_code_is_documented(code: str) -> None:
    assert f"`{code}`" in CONFIGURATION


@pytest.mark.parametrize("name", ["health", "ready", "requests/{id}", "feedback"])
def test_every_endpoint_is_documented(name: str) -> None:
    assert f"/penstock/{name}`" in CONFIGURATION


@pytest.mark.parametrize("name", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_is_documented(name: str) -> None:
    assert f"`penstock {name}" in README
