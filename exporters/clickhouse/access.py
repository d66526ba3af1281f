"""What the engine is told at its start: memory, and what its one user may do.

The engine's own grants keep every statement inside the database: no source (file, url, remote, ...) is granted, no
other database, no dictionary, no backup and no SYSTEM command. Settings that name files are constant. What grants do
not cover (two functions, INTO OUTFILE) is refused by `statement.check_stays_inside`.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape

from .credentials import DATABASE

_GRANTS: Final = (
    "GRANT SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, "
    f"OPTIMIZE, SHOW ON {DATABASE}.*",
    "GRANT SELECT, SHOW ON system.*",
    "GRANT SELECT, SHOW ON information_schema.*",
    "GRANT SELECT, SHOW ON INFORMATION_SCHEMA.*",
)

_CONSTANT: Final = (
    # Files that the engine would read or write on a client's behalf.
    "format_schema",
    "output_format_schema",
    "format_template_row",
    "format_template_resultset",
    # Statements are looked at as ClickHouse's own SQL; and expressions among inserted values are not looked at.
    "dialect",
    "input_format_values_interpret_expressions",
    "input_format_values_deduce_templates_of_expressions",
)

ALLOWED_TABLE_FUNCTIONS: Final = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generate_series", "generateseries"),
        *("values", "null", "format", "generaterandom", "view", "viewifpermitted", "merge", "loop"),
        *("mergetreeindex", "mergetreeparts", "mergetreeprojection"),
    }
)
"""Lower case. All others that the engine knows are refused, so that a new one is refused until somebody looks at it."""

REFUSED_FUNCTIONS: Final = frozenset({"file", "python", "executable", "disk"})
"""Beside the table functions. `file` is also a function of one value, which no grant covers; `disk` names paths."""


def config_xml(users_path: str, memory_bytes_max: int) -> str:
    """The server's side. Caches are small: the store lives beside the program that it observes."""
    mark_cache = min(64 * 1024 * 1024, memory_bytes_max // 16)
    return f"""<clickhouse>
    <users_config>{escape(users_path)}</users_config>
    <max_server_memory_usage>{memory_bytes_max}</max_server_memory_usage>
    <mark_cache_size>{mark_cache}</mark_cache_size>
    <index_mark_cache_size>{mark_cache // 4}</index_mark_cache_size>
    <primary_index_cache_size>{mark_cache}</primary_index_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <query_cache><max_size_in_bytes>{mark_cache // 4}</max_size_in_bytes></query_cache>
</clickhouse>
"""


def users_xml(memory_bytes_max: int) -> str:
    """The user's side: the engine knows one, `default`; writer and reader differ by `readonly`."""
    grants = "".join(f"\n                <query>{escape(grant)}</query>" for grant in _GRANTS)
    constant = "".join(f"\n                <{name}><readonly/></{name}>" for name in _CONSTANT)
    return f"""<clickhouse>
    <users>
        <default>
            <no_password/>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants>{grants}
            </grants>
        </default>
    </users>
    <profiles>
        <default>
            <max_memory_usage>{memory_bytes_max // 2}</max_memory_usage>
            <input_format_values_interpret_expressions>0</input_format_values_interpret_expressions>
            <input_format_values_deduce_templates_of_expressions>0</input_format_values_deduce_templates_of_expressions>
            <implicit_select>0</implicit_select>
            <constraints>{constant}
            </constraints>
        </default>
    </profiles>
    <quotas><default/></quotas>
</clickhouse>
"""
