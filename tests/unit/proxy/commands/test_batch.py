"""`penstock batch` for the eye and for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from proxy.batching.database import Database, queue_url
from proxy.batching.report import Overview
from proxy.cli import app
from proxy.commands import batch as command
from proxy.commands.failure import CommandFailed
from proxy.settings import Server, Settings
from tests.unit.proxy.batching.an_item import answer, finished, item, put, states


def one(**changes: Any) -> Overview:
    given: dict[str, Any] = {
        "id": "b1", "kind": "provider", "state": "in_progress", "upstream": "openai", "model": "gpt-4o-mini",
        "provider_id": "batch_1", "total": 10, "completed": 4, "failed": 1, "created": 1.0, "deadline": 2.0,
    }  # fmt: skip
    return Overview(**given | changes)


def screen(*, terminal: bool = False, width: int = 140) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def settings(tmp_path: Path) -> Settings:
    return Settings(server=Server(data_dir=str(tmp_path)))


def test_a_list_says_how_far_each_batch_is_and_what_it_saved() -> None:
    console = screen()
    command.print_list(console, [one(saved_usd=1.5), one(id="", provider_id="", kind="waiting", completed=0, failed=0)])
    head, first, second = shown(console).splitlines()
    assert " ".join(head.split()) == "id kind state upstream model items done failed age deadline saved"
    assert first.split()[:8] == ["batch_1", "provider", "in_progress", "openai", "gpt-4o-mini", "10", "4", "1"]
    assert first.split()[-2:] == ["late", "$1.500000"]
    assert second.split()[0] == second.split()[-1] == "-"


def test_one_item_is_told_line_by_line() -> None:
    console = screen()
    made = one(kind="item", state="done", status=429, mode="async", ended=3.0, attempts=2, request_id="r" * 32)
    command.print_one(console, made)
    text = shown(console)
    for part in ("done, answered with 429", "2 without an answer", "r" * 32, "after 2.00s", "async"):
        assert part in text


def test_watching_ends_when_all_are_over_and_tells_each_change_once() -> None:
    looks = iter([[one()], [one()], [one(completed=9)], [one(completed=9, state="completed", ended=5.0)]])
    console, naps = screen(), list[float]()
    command.watch(console, lambda: next(looks), sleep=naps.append)
    assert [line.split()[2] for line in shown(console).splitlines()] == ["5/10", "10/10", "10/10"]
    assert len(naps) == 3


def test_a_terminal_gets_a_bar_for_what_is_not_over() -> None:
    looks = iter([[one(), one(id="old", provider_id="batch_old", ended=2.0)], [one(ended=5.0)]])
    console = screen(terminal=True)
    command.watch(console, lambda: next(looks), sleep=lambda _: None)
    assert "5/10" in shown(console)
    assert "batch_old" not in shown(console)


def test_ctrl_c_ends_watching() -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    command.watch(screen(), lambda: [one()], sleep=interrupted)


def test_savings_are_those_of_the_batch_by_either_id() -> None:
    asked: list[Any] = []

    def query(sql: str, values: Any) -> Any:
        asked.append(values)
        return [{"id": "batch_1", "saved": 2.0, "priced": 1}, {"id": "b2", "saved": 0.0, "priced": 0}]

    assert command.saved_by(query, ["b1", "batch_1"]) == {"batch_1": 2.0}
    assert asked == [{"ids": ["b1", "batch_1"]}]


def test_no_store_is_no_reason_not_to_look(tmp_path: Path) -> None:
    assert command.with_savings(settings(tmp_path), [one()]) == [one()]


def test_without_a_queue_one_line_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["batch", "list", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, CommandFailed)
    assert "no call was put off" in str(result.exception)


@pytest.fixture
def database(tmp_path: Path) -> Any:
    made = Database.open(queue_url(settings(tmp_path)))
    yield made
    made.close()


def run(tmp_path: Path, *words: str) -> Any:
    result = CliRunner().invoke(app, ["batch", *words, "--data-dir", str(tmp_path), "--json"])
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def test_the_commands_look_into_the_queue_and_change_it(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penstock.toml").write_text(
        '[[upstreams]]\nname = "openai"\nbase_url = "https://api.openai.com/v1"\napi_key = "env:NOT_HERE"\n'
    )
    put(database, item(1), item(2))
    (waiting,) = run(tmp_path, "list")
    assert (waiting["kind"], waiting["total"]) == ("waiting", 2)
    assert run(tmp_path, "cancel", "item-1") == {"items": 1, "batches": 0}
    assert run(tmp_path, "show", "item-1")["state"] == "cancelled"
    with database.transaction() as connection:
        answer(connection, finished(2, status=500))
    assert run(tmp_path, "retry", "item-2") == {"items": 1, "batches": 0}
    assert states(database) == {"item-1": "cancelled", "item-2": "queued"}
