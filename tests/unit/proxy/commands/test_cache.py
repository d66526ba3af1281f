"""`penstock cache` on a real folder: what it says, what it removes, and what it refuses to guess."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cache.disk import Disk
from cache.entry import Entry
from cache.purge import Purges, Selection
from proxy.cli import app
from proxy.commands import cache as command
from proxy.commands.failure import CommandFailed
from tests.unit.cache.entries import entry, key, let_go

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Six replies: two models, one namespace, two of them old, one of them large."""

    async def fill() -> None:
        disk = Disk(tmp_path / "cache", 1 << 30, tidy=False)
        now_ns = time.time_ns()
        for number in range(6):
            made_ns = now_ns - (48 * HOUR_NS if number < 2 else HOUR_NS)
            namespace = "team" if number == 5 else ""
            model = f"gpt-{number % 2}"
            body = json.dumps({"id": f"reply-{number}", "text": "x" * (90_000 if number == 4 else 10)}).encode()
            one = entry(number, now_ns=made_ns, namespace=namespace, model=model, body=body)
            await disk.put(key(number), one)
        await let_go(disk)

    asyncio.run(fill())
    return tmp_path


def run(data_dir: Path, *arguments: str, given: str | None = None) -> Result:
    config = data_dir / "none.toml"
    config.touch()
    full = ["cache", *arguments, "--config", str(config), "--data-dir", str(data_dir)]
    return CliRunner().invoke(app, full, input=given)


def keys_left(data_dir: Path) -> set[str]:
    async def scan() -> set[str]:
        disk = Disk(data_dir / "cache", 1 << 30, tidy=False)
        found = {name async for name, _ in disk.scan()}
        await disk.aclose()
        return found

    return asyncio.run(scan())


def keys(*numbers: int) -> set[str]:
    return {key(number) for number in numbers}


def test_stats_sum_up_by_model_and_namespace(data_dir: Path) -> None:
    found = json.loads(run(data_dir, "stats", "--json").stdout)
    (tier,) = found["tiers"]
    assert (tier["tier"], tier["entries"], tier["corrupt"]) == ("disk", 6, 0)
    assert 90_000 < tier["bytes"] < tier["bytes_max"]
    groups = [(one["model"], one["namespace"], one["entries"]) for one in found["contents"]]
    assert groups == [("gpt-0", "", 3), ("gpt-1", "", 2), ("gpt-1", "team", 1)]
    oldest, newest = (found["contents"][0][name] for name in ("oldest_ns", "newest_ns"))
    assert 46 * HOUR_NS < newest - oldest < 48 * HOUR_NS


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_stats_fit_the_terminal(data_dir: Path, columns: int) -> None:
    found = json.loads(run(data_dir, "stats", "--json").stdout)
    console = Console(file=io.StringIO(), force_terminal=True, width=columns, highlight=False)
    command.print_stats(console, found)
    assert isinstance(console.file, io.StringIO)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in console.file.getvalue().splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("disk     6 replies, ")
    assert lines[2].split()[:4] == ["disk", "gpt-0", "-", "3"]
    assert lines[2].split()[-2:] == ["2d", "1h"] or "h" in lines[2]


def test_nothing_there_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    done = run(tmp_path, "stats", "--json")
    assert json.loads(done.stdout) == {"tiers": [], "contents": []}
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", [key(3), key(3)[:10], "req-3"])
def test_inspect_finds_a_reply_by_what_one_knows_of_it(data_dir: Path, name: str) -> None:
    found = json.loads(run(data_dir, "inspect", name, "--json").stdout)
    assert (found["key"], found["request_id"], found["model"]) == (key(3), "req-3", "gpt-1")
    assert json.loads(found["body"])["id"] == "reply-3"
    shown = run(data_dir, "inspect", name).stdout
    assert key(3) in shown
    assert '"reply-3"' in shown


def test_inspect_prefers_a_whole_request_id_to_the_beginning_of_another(tmp_path: Path) -> None:
    async def fill() -> None:
        disk = Disk(tmp_path / "cache", 1 << 30, tidy=False)
        for number in range(20):
            await disk.put(key(number), entry(number))
        await disk.aclose()

    asyncio.run(fill())
    assert json.loads(run(tmp_path, "inspect", "req-1", "--json").stdout)["key"] == key(1)


def test_inspect_shows_the_beginning_of_a_long_body(data_dir: Path) -> None:
    shown = run(data_dir, "inspect", key(4)).stdout
    assert len(shown) < 4000
    assert "more characters" in shown


@pytest.mark.parametrize(("name", "said"), [("nothing-like-it", "No kept reply"), ("req-", "fits several")])
def test_inspect_does_not_guess(data_dir: Path, name: str, said: str) -> None:
    done = run(data_dir, "inspect", name)
    assert isinstance(done.exception, CommandFailed)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--key", key(1)], keys(0, 2, 3, 4, 5)),
        (["--model", "gpt-1"], keys(0, 2, 4)),
        (["--model", "gpt-*", "--namespace", "team"], keys(0, 1, 2, 3, 4)),
        (["--namespace", ""], keys(5)),
        (["--older-than", "24h"], keys(2, 3, 4, 5)),
        (["--older-than", "24h", "--model", "gpt-0"], keys(1, 2, 3, 4, 5)),
        (["--all", "--yes"], set()),
    ],
)
def test_purge_takes_what_fits_and_tells_the_workers(data_dir: Path, arguments: list[str], left: set[str]) -> None:
    worker = Purges(data_dir / "cache")
    done = run(data_dir, "purge", *arguments, "--json")
    assert json.loads(done.stdout) == {"disk": 6 - len(left)}
    assert keys_left(data_dir) == left
    told = worker.fresh()
    assert len(told) == 2
    assert {key(number) for number in range(6) if not told[0].fits(key(number), _made(number))} == left


def _made(number: int) -> Entry:
    now_ns = time.time_ns()
    made_ns = now_ns - (48 * HOUR_NS if number < 2 else HOUR_NS)
    return entry(number, now_ns=made_ns, namespace="team" if number == 5 else "", model=f"gpt-{number % 2}")


def test_workers_are_told_although_nothing_is_on_disk(tmp_path: Path) -> None:
    worker = Purges(tmp_path / "cache")
    assert run(tmp_path, "purge", "--model", "gpt-1").exit_code == 0
    assert Selection(model="gpt-1") in worker.fresh()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say what is to go"),
        (["--all", "--model", "x"], "--all is everything"),
        (["--older-than", "x"], "--older-th"),
    ],
)
def test_purge_does_not_guess_what_is_to_go(data_dir: Path, arguments: list[str], said: str) -> None:
    done = run(data_dir, "purge", *arguments)
    assert isinstance(done.exception, CommandFailed)
    assert said in str(done.exception)
    assert len(keys_left(data_dir)) == 6


@pytest.mark.parametrize(("answer", "left"), [("n\n", 6), ("y\n", 0)])
def test_everything_goes_only_when_it_is_confirmed(data_dir: Path, answer: str, left: int) -> None:
    run(data_dir, "purge", "--all", given=answer)
    assert len(keys_left(data_dir)) == left


def test_a_broken_folder_is_said(data_dir: Path) -> None:
    for path in (data_dir / "cache" / "replies").glob("cache.db*"):
        path.unlink()
    (data_dir / "cache" / "replies" / "cache.db").write_bytes(b"garbage" * 1000)
    done = run(data_dir, "stats")
    assert isinstance(done.exception, CommandFailed)
    assert "disk of the cache" in str(done.exception)


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2_147_483_648, "2.15 GB")])
def test_sizes_have_three_digits(count: int, said: str) -> None:
    assert command.size(count) == said
