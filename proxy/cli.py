"""The command line. Exit status: 0 done, 1 not done (one line says why), 2 the command was not understood."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from .commands.batch_app import app as batch_app
from .commands.dataset_app import app as dataset_app
from .commands.evaluate import evaluate
from .commands.failure import CommandFailed
from .commands.finetune_app import app as finetune_app
from .commands.options import (
    ConfigOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    config_path,
    print_json,
    stdout_console,
)
from .commands.promote import promote
from .configuration import ConfigurationError

app = typer.Typer(
    help="Penstock meters and records what passes between applications and language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
requests_app = typer.Typer(invoke_without_command=True, add_completion=False)
app.add_typer(requests_app, name="requests")
cache_app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look into the response cache, or empty it.")
app.add_typer(cache_app, name="cache")
app.add_typer(batch_app, name="batch")
app.add_typer(dataset_app, name="dataset")
app.add_typer(finetune_app, name="finetune")
app.command()(promote)
app.command()(evaluate)
advise_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Say what recorded traffic could cost.")
app.add_typer(advise_app, name="advise")

ModelOption = Annotated[str, typer.Option(help="A model, or a pattern with *.")]
StatusOption = Annotated[str, typer.Option(help="An HTTP status such as 429, or 4xx.")]
UserOption = Annotated[str, typer.Option(help="The user that the caller named.")]
SessionOption = Annotated[str, typer.Option(help="The session (conversation) that the caller named.")]
KeyOption = Annotated[str, typer.Option(help="The id of a proxy key: the first digits of its hash.")]
AliasOption = Annotated[str, typer.Option(help="The alias that was asked for.")]
VariantOption = Annotated[str, typer.Option(help="The variant that answered for an alias.")]
TagOption = Annotated[str, typer.Option(help="NAME=VALUE, or NAME for any value.")]
ErrorsOption = Annotated[bool, typer.Option("--errors", help="Only calls that failed.")]


def main() -> None:
    """The entry of the `penstock` command."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # what a library logs is raised as well, and said once
    try:
        app(prog_name="penstock")
    except (CommandFailed, ConfigurationError) as error:
        for text in str(error).splitlines():
            typer.echo(f"penstock: {text}", err=True)
        sys.exit(1)


@app.command()
def serve(
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Worker processes.")] = None,
    data_dir: DataDirOption = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond loopback although no key is asked.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print a line for each call.")] = False,
) -> None:
    """Run the proxy. SIGTERM ends it, SIGHUP loads the configuration anew without losing a call."""
    from .commands.serve import serve as run

    overrides = {
        "server.port": port,
        "server.host": host,
        "server.workers": workers,
        "server.data_dir": data_dir,
    }
    raise typer.Exit(run(config_path(config), overrides, insecure=insecure, quiet=quiet))


@app.command()
def check(
    config: ConfigOption = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask upstreams, OTLP endpoints and databases whether they answer.")
    ] = False,
    insecure: Annotated[bool, typer.Option("--insecure")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what was understood of the configuration, and what is odd about it."""
    from .commands import check as command
    from .configuration import load

    path = config_path(config)
    settings = load(path, {}, os.environ)
    odd = command.oddities(settings, insecure=insecure)
    probes = []
    if probe:
        from .commands.probe import probe_all

        probes = probe_all(settings, os.environ)
    if as_json:
        print_json(command.document(settings, odd, probes))
    else:
        command.print_check(stdout_console(), settings, odd, probes, str(path) if path else "the defaults")
    raise typer.Exit(0 if all(one.ok for one in probes) else 1)


@app.command()
def tail(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    model: ModelOption = "",
    status: StatusOption = "",
    user: UserOption = "",
    session: SessionOption = "",
    key: KeyOption = "",
    alias: AliasOption = "",
    variant: VariantOption = "",
    tag: TagOption = "",
    errors: ErrorsOption = False,
    since: Annotated[str, typer.Option(help="Begin so long ago.")] = "0s",
    as_json: JsonOption = False,
) -> None:
    """Follow the calls as they are recorded, one line each, until Ctrl-C."""
    from exporters.call_line import head, line, model_width
    from exporters.console import columns_of, print_line

    from .commands import tail as command
    from .commands.filters import Filters, parse_since
    from .commands.requests import call_of_row

    filters = Filters(
        model=model,
        status=status,
        user=user,
        session=session,
        key=key,
        alias=alias,
        variant=variant,
        tag=tag,
        errors=errors,
    )
    begin = parse_since(since, datetime.now(UTC)).timestamp()
    follower = command.Follower(_query(config, data_dir), filters, begin)
    console = stdout_console()
    width = model_width(columns_of(console))
    if not as_json:
        print_line(console, head(width))
    with contextlib.suppress(KeyboardInterrupt):
        for row in command.follow(follower):
            if as_json:
                print_json(row)
            else:
                print_line(console, line(call_of_row(row), width, columns_of(console)))


@requests_app.callback()
def requests(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    model: ModelOption = "",
    status: StatusOption = "",
    user: UserOption = "",
    session: SessionOption = "",
    key: KeyOption = "",
    alias: AliasOption = "",
    variant: VariantOption = "",
    tag: TagOption = "",
    errors: ErrorsOption = False,
    since: Annotated[str, typer.Option(help="30m, 24h, 7d, or a date.")] = "7d",
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """List the last calls, or show one of them as a conversation: requests show ID."""
    if context.invoked_subcommand is not None:
        return
    from .commands import requests as command
    from .commands.filters import Filters, parse_since

    filters = Filters(
        since=parse_since(since, datetime.now(UTC)),
        model=model,
        status=status,
        user=user,
        session=session,
        key=key,
        alias=alias,
        variant=variant,
        tag=tag,
        errors=errors,
    )
    rows = command.select(_query(config, data_dir), filters, limit)
    if as_json:
        print_json(rows)
    else:
        command.print_list(stdout_console(), rows)


@requests_app.command()
def show(
    request_id: Annotated[str, typer.Argument(metavar="ID", help="A request id, its beginning, or a response id.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one call: messages, tools, tokens, cost, time, tries."""
    from .commands import show as command

    query = _query(config, data_dir)
    row = command.find(query, request_id)
    tries = command.attempts(query, row)
    if as_json:
        print_json(row | {"tries": [*tries]})
    else:
        command.print_call(stdout_console(), row, tries)


@app.command()
def stats(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    by: Annotated[
        str,
        typer.Option(
            help="model, key, user, session, upstream, provider, endpoint, outcome, error, prompt, alias, variant, "
            "hour, day or tag:NAME.",
            show_default="model; with --savings all calls",
        ),
    ] = "",
    since: Annotated[str, typer.Option(help="30m, 24h, 7d, or a date.")] = "7d",
    model: ModelOption = "",
    user: UserOption = "",
    key: KeyOption = "",
    alias: AliasOption = "",
    limit: LimitOption = 50,
    saved: Annotated[bool, typer.Option("--savings", help="What was not paid, by strategy.")] = False,
    plot: Annotated[bool | None, typer.Option("--plot/--no-plot", help="Bars; by default on a terminal.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Sum up what was used: calls, errors, tokens, cache hits, cost, latency; with --savings what was not paid."""
    from .commands import savings
    from .commands import stats as command
    from .commands.filters import Filters, parse_since

    filters = Filters(since=parse_since(since, datetime.now(UTC)), model=model, user=user, key=key, alias=alias)
    by = by or ("" if saved else "model")
    if by:
        command.expression(by)  # what is not known is said before anybody looks for a store
    query = _query(config, data_dir)
    rows = savings.select(query, by, filters, limit) if saved else command.select(query, by, filters, limit)
    if as_json:
        print_json(rows)
        return
    console = stdout_console()
    plots = console.is_terminal if plot is None else plot
    (savings.print_table if saved else command.print_table)(console, by, rows, plot=plots)


@advise_app.command("prompt-cache")
def advise_prompt_cache(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    since: Annotated[str, typer.Option(help="30m, 24h, 7d, or a date.")] = "7d",
    model: ModelOption = "",
    user: UserOption = "",
    session: SessionOption = "",
    key: KeyOption = "",
    tag: TagOption = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=10, max=200_000, help="Calls to read, newest first.")
    ] = 20_000,
    as_json: JsonOption = False,
) -> None:
    """Find what keeps the provider's prompt cache from being used, where it stands, and what it costs a day."""
    from .commands import advise as command
    from .commands.advice_view import print_advice
    from .commands.filters import Filters, parse_since
    from .commands.store import open_query, settings_of

    now = datetime.now(UTC)
    filters = Filters(since=parse_since(since, now), model=model, user=user, session=session, key=key, tag=tag)
    settings = settings_of(config_path(config), data_dir)
    advice = command.prompt_cache(open_query(settings), filters, limit, settings, now)
    if as_json:
        print_json(command.document(advice))
    else:
        print_advice(stdout_console(), advice)


@cache_app.command("stats")
def cache_stats(config: ConfigOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Sum up what is kept on disk and in Redis. How often it was of use is in `penstock stats`."""
    from .commands import cache as command

    found = command.stats(command.settings_of(config_path(config), data_dir))
    if as_json:
        print_json(found)
    else:
        command.print_stats(stdout_console(), found)


@cache_app.command()
def inspect(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key, a request id, or the beginning of either.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one kept reply."""
    from .commands import cache as command

    found = command.inspect(command.settings_of(config_path(config), data_dir), key)
    if as_json:
        print_json(command.document(found))
    else:
        command.print_entry(stdout_console(), found)


@cache_app.command()
def purge(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    key: Annotated[str, typer.Option(help="The whole key of a reply.")] = "",
    namespace: Annotated[str | None, typer.Option(help='Replies of this namespace; "" for those of none.')] = None,
    model: ModelOption = "",
    older_than: Annotated[str, typer.Option(help="Replies from before: 30m, 24h, 7d, or a date.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every reply.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the replies that fit all that is given, from every tier. Workers forget theirs within a second."""
    from .commands import cache as command

    selection = command.selection_of(
        key=key,
        namespace=namespace,
        model=model,
        older_than=older_than,
        everything=everything,
        now=datetime.now(UTC),
    )
    settings = command.settings_of(config_path(config), data_dir)
    if everything and not yes:
        typer.confirm("Remove every kept reply?", abort=True, err=True)
    gone = command.purge(settings, selection)
    if as_json:
        print_json(gone)
    else:
        command.print_purge(stdout_console(), gone)


@app.command()
def migrate(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL instead of running it.")] = False,
) -> None:
    """Bring the tables of the ClickHouse database up to date. `serve` does this by itself."""
    from .commands import migrate as command
    from .commands.store import settings_of

    command.migrate(stdout_console(), settings_of(config_path(config), data_dir), dry_run=dry_run)


def _query(config: Path | None, data_dir: str | None) -> Any:
    from .commands.store import open_query, settings_of

    return open_query(settings_of(config_path(config), data_dir))
