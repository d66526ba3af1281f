"""`penstock migrate`: the tables of the database, brought up to date. `serve` does the same before its first write."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from exporters.clickhouse.connect import Address, StoreError, connect, parse_url, translated
from exporters.clickhouse.schema import Migration, Schema, SchemaError, migrations
from exporters.clickhouse.schema import migrate as apply

from ..settings import Settings
from .failure import CommandFailed
from .store import address


def migrate(console: Console, settings: Settings, *, dry_run: bool) -> None:
    """Say what was applied; with `dry_run` print the SQL that would be. Raises `CommandFailed`."""
    try:
        target = parse_url(address(settings, "writer"))
        schema = Schema(target.database, settings.store.retention_days, settings.store.cluster)
        if dry_run:
            _print_sql(console, schema, _missing(target))
            return
        applied = apply(target, schema)
    except (StoreError, SchemaError) as error:
        raise CommandFailed(str(error)) from error
    for migration in applied:
        console.print(Text(f"applied {migration.version:04} {migration.name}", "green"))
    if not applied:
        console.print(Text(f"{target.public} is up to date", "green"))


def _missing(target: Address) -> list[Migration]:
    """Those that the database has not seen; all of them when there is no database."""
    client = connect(target, database="")
    try:
        with translated(target):
            known = client.query(
                "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'",
                parameters={"database": target.database},
            )
            if not known.result_rows[0][0]:
                return migrations()
            rows = client.query(f"SELECT version FROM `{target.database}`.schema_migrations").result_rows
    finally:
        client.close()
    applied = {version for (version,) in rows}
    return [migration for migration in migrations() if migration.version not in applied]


def _print_sql(console: Console, schema: Schema, missing: Sequence[Migration]) -> None:
    for migration in missing:
        console.print(Text(f"-- {migration.version:04} {migration.name}", "dim"))
        for statement in schema.statements(migration.text):
            console.print(Text(f"{statement};\n"))
    if not missing:
        console.print(Text("-- nothing is missing", "dim"))
