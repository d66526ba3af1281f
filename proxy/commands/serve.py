"""`penstock serve`: the banner, and the supervisor with the configuration it may load again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.text import Text

from exporters.console import terminal

from ..configuration import ConfigurationError, bind_problem, load, without_secrets
from ..data_dir import DataDirUnusable, Serving
from ..listening import CannotListen
from ..logs import configure_logging
from ..settings import Settings
from ..supervisor import ConfigurationRefused, Supervisor
from .failure import CommandFailed


def serve(path: Path | None, overrides: Mapping[str, object], *, insecure: bool, quiet: bool) -> int:
    """Serve until told to stop; gives the exit status. Raises `CommandFailed` or `ConfigurationError` at the start."""
    settings = load(path, overrides, os.environ)
    if problem := bind_problem(settings, insecure):
        raise CommandFailed(problem)
    configure_logging("serve")
    supervisor = Supervisor(
        settings,
        load=_loader(path, overrides, insecure),
        on_ready=lambda note: print_banner(terminal(sys.stdout), note, settings),
        console=not quiet,
        configuration=str(path.absolute()) if path else "",
    )
    try:
        return asyncio.run(supervisor.run())
    except (DataDirUnusable, CannotListen) as error:
        raise CommandFailed(str(error)) from error


def _loader(path: Path | None, overrides: Mapping[str, object], insecure: bool) -> Callable[[], Settings]:
    def reload() -> Settings:
        try:
            settings = load(path, overrides, os.environ)
        except ConfigurationError as error:
            raise ConfigurationRefused("; ".join(error.lines)) from error
        if problem := bind_problem(settings, insecure):
            raise ConfigurationRefused(problem)
        return settings

    return reload


def print_banner(console: Console, note: Serving, settings: Settings) -> None:
    """What one needs to know to use it: the one variable to set, and where the records are."""
    store = note.store_url or without_secrets(settings).store.clickhouse
    metrics = f"http://{settings.metrics.host}:{note.metrics_port}/metrics" if note.metrics_port else "off"
    console.print(
        Text.assemble(("penstock ", "bold cyan"), (version("penstock"), "dim"), f" listens on {note.url}"),
        Text.assemble(("  set     ", "dim"), (f"OPENAI_BASE_URL={note.url}/v1", "bold green")),
        Text.assemble(("  records ", "dim"), f"{settings.server.data_dir}   ClickHouse {store}"),
        Text.assemble(("  metrics ", "dim"), metrics),
        Text.assemble(("  look    ", "dim"), "penstock tail | requests | stats"),
        sep="\n",
    )
