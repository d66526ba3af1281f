"""The migrations as text: joined to `attributes.py`, numbered, and filled for one server or a cluster."""

from __future__ import annotations

import re

import pytest

from exporters.attributes import CONTENT, FIELDS
from exporters.clickhouse.schema import EXPIRING, ONLY_IN_A_CLUSTER, Schema, SchemaError, migrations
from exporters.record import REUSED
from proxy.commands.filters import REUSED as REUSED_SQL

TEXTS = {migration.name: migration.text for migration in migrations()}


def test_they_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(TEXTS) + 1))


def test_every_field_has_its_column_and_is_read_from_its_attribute() -> None:
    text = TEXTS["generations"]
    for field in FIELDS:
        assert f"\n    {field.column} {field.type} CODEC" in text
        line = re.search(rf"^.*a\['{re.escape(field.attribute)}'\][^;]*? AS {field.column}[,\n]", text, re.MULTILINE)
        assert line is not None, field


def test_sql_and_records_agree_on_what_was_not_bought() -> None:
    found = re.findall(r"outcome = 'cached' OR cache_status IN \(([^)]*)\)", TEXTS["savings"] + REUSED_SQL)
    assert len(found) == 5
    assert {frozenset(re.findall(r"'(\w+)'", names)) for names in found} == {REUSED}


def test_the_view_strips_exactly_the_content() -> None:
    listed = re.search(r"name NOT IN \((.*?)\)", TEXTS["spans"], re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'([^']+)'", listed[1])) == set(CONTENT)


def test_all_views_agree_on_what_a_generation_is() -> None:
    whole = " ".join(" ".join(TEXTS.values()).split())
    found = re.findall(r"SpanAttributes\['gen_ai.operation.name'\] NOT IN (\([^)]*\))", whole)
    assert len(found) == 3
    assert len(set(found)) == 1


@pytest.mark.parametrize("cluster", ["", "main"])
def test_no_place_stays_unfilled_and_no_cluster_word_is_left_alone(cluster: str) -> None:
    schema = Schema("penstock", retention_days=7, cluster=cluster)
    statements = [text for migration in migrations() for text in schema.statements(migration.text)]
    for text in statements:
        assert "$" not in text
        assert "IF NOT EXISTS" in text  # what can be said twice
        # Of a view that was changed so, an insert that is repeated after a restart is no longer known: it is doubled.
        assert "MODIFY QUERY" not in text
        assert ("ON CLUSTER `main`" in text) == bool(cluster)
    whole = "\n".join(statements)
    assert set(re.findall(r"toIntervalDay\((\d+)\)", whole)) == {"7"}
    assert ("Distributed" in whole) == ("Replicated" in whole) == ("_local" in whole) == bool(cluster)
    assert ONLY_IN_A_CLUSTER not in whole


def test_every_table_with_an_end_is_known_by_the_time_that_counts() -> None:
    whole = "\n".join(TEXTS.values())
    for table, time in EXPIRING.items():
        made = re.search(rf"TABLE IF NOT EXISTS \$database\.{table}\$local .*?\nTTL (\S+)", whole, re.DOTALL)
        assert made is not None
        assert made[1] == time


@pytest.mark.parametrize("name", ["", "a b", "x`; DROP", "a.b"])
def test_names_are_names(name: str) -> None:
    with pytest.raises(SchemaError):
        Schema(name)
    with pytest.raises(SchemaError):
        Schema("good", cluster=name or " ")
