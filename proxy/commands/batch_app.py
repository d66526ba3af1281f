"""`penstock batch`: its commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import ConfigOption, DataDirOption, JsonOption, LimitOption, config_path, print_json, stdout_console

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at calls that may wait, and at batches.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An item or a batch, by its id here or at the provider, or its beginning.")
]


@app.command("list")
def list_batches(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    state: Annotated[str, typer.Option(help="queued, running, in_progress, completed, failed, ...")] = "",
    upstream: Annotated[str, typer.Option(help="The name of an upstream.")] = "",
    limit: LimitOption = 20,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep bars of the running batches until all are over.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the newest batches, and before them the calls that wait for one."""
    from . import batch as command

    settings = command.settings_of(config_path(config), data_dir)
    with command.opened(settings) as database:
        if watch:
            command.watch(stdout_console(), lambda: command.select(database, state, upstream, limit))
            return
        found = command.with_savings(settings, command.select(database, state, upstream, limit))
    if as_json:
        print_json(command.documents(found))
    else:
        command.print_list(stdout_console(), found)


@app.command()
def show(
    name: IdArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep a bar until it is over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one batch, or one call that waits: how far it is, until when it has time, what it saved."""
    from . import batch as command

    settings = command.settings_of(config_path(config), data_dir)
    with command.opened(settings) as database:
        found = command.find(database, name)
        if watch:
            command.watch(stdout_console(), lambda: [command.find(database, found.id)])
            found = command.find(database, found.id)
    (found,) = command.with_savings(settings, [found])
    if as_json:
        print_json(command.documents([found])[0])
    else:
        command.print_one(stdout_console(), found)


@app.command()
def cancel(
    name: IdArgument, config: ConfigOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False
) -> None:
    """Give up a call that waits, or what is left of a batch. What was asked already is paid for, and recorded."""
    _change("cancel", "cancelled", name, config, data_dir, as_json)


@app.command()
def retry(
    name: IdArgument, config: ConfigOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False
) -> None:
    """Ask a call again that got an error, or all such calls of a batch."""
    _change("retry", "queued again", name, config, data_dir, as_json)


def _change(
    what: Literal["cancel", "retry"], told: str, name: str, config: Path | None, data_dir: str | None, as_json: bool
) -> None:
    from . import batch as command

    settings = command.settings_of(config_path(config), data_dir)
    change = command.cancel if what == "cancel" else command.retry
    with command.opened(settings) as database:
        changed = change(database, name, settings)
    if as_json:
        print_json(changed._asdict())
    else:
        stdout_console().print(command.said(changed, told))
