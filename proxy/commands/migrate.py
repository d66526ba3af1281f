"""`penstock migrate`: the tables of the database, brought up to date."""

from __future__ import annotations

from rich.console import Console

from ..settings import Settings


def migrate(console: Console, settings: Settings, *, dry_run: bool) -> None:
    """Print what is run; with `dry_run`, only print. Raises `CommandFailed`."""
