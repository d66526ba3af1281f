"""Scores of evaluations on the real engine: beside feedback of before, once each, in OpenTelemetry's words."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.connect import connect, parse_url
from exporters.clickhouse.schema import Schema, migrate, migrations
from exporters.clickhouse.sink import ClickHouseSink
from exporters.record import Feedback
from exporters.sink import Batch
from tests.e2e.clickhouse.conftest import Settings
from tests.e2e.clickhouse.spans_in import fresh_record
from tests.stores import Store, embedded_store


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    with embedded_store(tmp_path) as running:
        yield running


def score(of: str, at_ns: int, **fields: Any) -> Feedback:
    given = {"id": f"id-{of}", "name": "token_f1", "score": 0.5, "comment": "3 of 6 words", "kind": "evaluation"}
    return Feedback(**(given | {"at_ns": at_ns, "request_id": of, "response_id": f"chat-{of}", "run": "e1"} | fields))


def test_a_score_sent_twice_is_one_row_that_finds_its_generation(client: Client, sink: ClickHouseSink) -> None:
    of = f"req-{secrets.token_hex(6)}"
    record = fresh_record(request_id=of, response_id=f"chat-{of}", request_model="tuned")
    sink.write(Batch(secrets.token_hex(8), [record], [score(of, record.end_ns)]))
    sink.write(Batch(secrets.token_hex(8), [], [score(of, record.end_ns + 1, label="fair")]))
    sink.write(
        Batch(secrets.token_hex(8), [], [Feedback(id=f"said-{of}", at_ns=record.end_ns, request_id=of, score=1.0)])
    )
    found = client.query(
        """
        SELECT e.gen_ai.evaluation.name, e.gen_ai.evaluation.score.value, e.gen_ai.evaluation.score.label,
            e.gen_ai.evaluation.explanation, e.event_name, e.run, g.model
        FROM evaluations AS e JOIN generations AS g ON g.response_id = e.gen_ai.response.id
        WHERE e.request_id = {of:String}
        """,
        parameters={"of": of},
    ).result_rows
    assert found == [("token_f1", 0.5, "fair", "3 of 6 words", "gen_ai.evaluation.result", "e1", "tuned")]


def test_feedback_of_an_older_schema_stays_feedback(empty: Store) -> None:
    address = parse_url(empty.url())
    before = [migration for migration in migrations() if migration.version < 10]
    migrate(address, Schema("penstock"), known=before)
    client = connect(address)
    client.command("INSERT INTO feedback (timestamp, id, request_id, score) SELECT now64(), 'old', 'r', 0.25")
    sink = ClickHouseSink(empty.url(), Settings())
    now_ns = fresh_record().end_ns
    sink.write(Batch("t", [], [score("r", now_ns)]))
    sink.close()
    kinds = client.query("SELECT id, kind FROM feedback FINAL ORDER BY id").result_rows
    assert kinds == [("id-r", "evaluation"), ("old", "feedback")]
    assert client.query("SELECT id FROM evaluations").result_rows == [("id-r",)]
    client.close()
