"""The advisor through the real engine and the command line: a fault among clean traffic, and nothing to say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from exporters.clickhouse.connect import parse_url
from exporters.clickhouse.schema import Schema, migrate
from exporters.clickhouse.sink import ClickHouseSink
from exporters.record import CallRecord
from exporters.sink import Batch
from proxy.cli import app
from proxy.commands.failure import CommandFailed
from proxy.settings import Store as StoreSettings
from tests.stores import Store, embedded_store
from tests.traffic import NOW, Sent, provider_reads, question, rows, traffic
from tests.unit.proxy.advising.scenarios import RULES, timestamp

CALLS = 60


def clean(index: int, dice: Any) -> Sent:
    return Sent(0, [("system", RULES.upper()), question(dice)], model="gpt-4.1", user=f"user {index % 7}", key="other")


def records(calls: Sequence[Sent], name: str) -> list[CallRecord]:
    """As the recorder completes them, at times that lie in the last hour."""
    shift = time.time() - NOW
    return [
        CallRecord(
            request_id=f"{name}{index:028x}", trace_id=f"{name}{index:028x}", span_id=f"{index:016x}", method="POST",
            path="/v1/chat/completions", endpoint="chat", provider=call.provider, upstream="main", status=200,
            start_ns=int((call.at + shift) * 1e9), end_ns=int((call.at + shift + 1) * 1e9), outcome="answered",
            request_model=call.model, response_model=call.model, key_id=call.key, user=call.user,
            content="full", input_messages=row["input_messages"], usage_source="upstream",
            input_tokens=row["input_tokens"], cached_tokens=row["cached_tokens"], output_tokens=5,
        )
        for index, (call, row) in enumerate(zip(calls, rows(calls, provider_reads(calls)), strict=True))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with embedded_store(tmp_path_factory.mktemp("advise")) as running:
        migrate(parse_url(running.url()), Schema("penstock"))
        sink = ClickHouseSink(running.url(), StoreSettings())
        faulty = records(traffic(CALLS, lambda index, dice: timestamp(index, dice, False)), "fa01")
        other = records(traffic(CALLS, clean), "fa02")
        silent = [replace_content(record) for record in records(traffic(12, clean, seed="off"), "fa03")]
        sink.write(Batch("planted", [*faulty, *other, *silent]))
        sink.close()
        yield running


def replace_content(record: CallRecord) -> CallRecord:
    record.content, record.input_messages, record.key_id = "off", None, "silent"
    return record


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Any:
    config = tmp_path / "penstock.toml"
    config.write_text(f'[server]\ndata_dir = "{tmp_path}"\n[store]\nclickhouse = "{store.url("reader")}"\n')

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["advise", "prompt-cache", *arguments, "--config", str(config)])
        if isinstance(done.exception, CommandFailed):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    return run


def test_a_planted_fault_is_told(run: Any) -> None:
    report = json.loads(run("--json"))
    (finding,) = report["findings"]
    assert (finding["kind"], finding["model"], finding["section"]) == ("timestamp", "gpt-4o", "system")
    assert 8 <= finding["section_token"] <= 12
    assert finding["usd_per_day"] > 1
    assert report["calls"] == 2 * CALLS
    text = run()
    assert "A time or date stands before text that stays the same" in text
    assert finding["examples"][0]["varies"] in text
    assert "nothing to do" in text
    assert f"{2 * CALLS} calls of the last 1 h were read" in text


def test_clean_traffic_is_left_alone(run: Any) -> None:
    assert json.loads(run("--json", "--model", "gpt-4.1"))["findings"] == []
    assert "Nothing breaks the prompt cache" in run("--model", "gpt-4.1")


def test_the_newest_calls_are_read(run: Any) -> None:
    assert json.loads(run("--json", "--limit", "10"))["calls"] == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--key", "silent"], "Set record.content"), (["--model", "nobody"], "--since 30d looks further back")],
)
def test_where_there_is_nothing_to_read_it_says_what_to_do(run: Any, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandFailed, match=said):
        run(*arguments)
