"""Options that several commands have, and where a command's output goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="PENSTOCK_CONFIG", help="The configuration; ./penstock.toml when it exists."),
]
DataDirOption = Annotated[str | None, typer.Option(help="Spool, lock and embedded store are below it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text for people.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")]


def config_path(path: Path | None) -> Path | None:
    """What was given, else the usual file when there is one."""
    default = Path("penstock.toml")
    return path or (default if default.exists() else None)


def stdout_console() -> Any:
    """Of standard output."""
    from exporters.console import terminal

    return terminal(sys.stdout)


def print_json(value: Any) -> None:
    from .requests import as_json

    typer.echo(as_json(value))
