"""The reports on real rows: what was called is listed, shown as a conversation, summed up and followed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from proxy.cli import app
from proxy.commands.failure import CommandFailed
from tests.wire.scripted import Request, Script, json_reply, sse
from tests.wire.scripted_server import Conn

from .serve import ROOT, Penstock, penstock, until
from .stage import Stage, chat_chunks, chat_reply

TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
USAGE = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}


def _by_model(scripts: dict[str, Script]) -> Script:
    async def script(request: Request, conn: Conn) -> None:
        await scripts[json.loads(request.body)["model"]](request, conn)

    return script


@pytest.fixture(scope="module")
def house(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """Five calls of three models, recorded."""
    answer = chat_reply("Bonjour \x1b[31mred\x1b[0m")
    error = {"error": {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    stage.play(
        _by_model(
            {
                "gpt-4o-mini": json_reply(answer),
                "gpt-4.1": sse(chat_chunks("It ", "is 42.", model="gpt-4.1", **USAGE)),
                "gpt-4o": json_reply(chat_reply("", content=None, tool_calls=[TOOL_CALL])),
                "local": json_reply(chat_reply("?") | {"model": "local"}),
                "busy": json_reply(error, 429),
            }
        )
    )
    upstream = {"base_url": f"{stage.url}/v1", "provider": "openai"}
    with penstock(tmp_path_factory.mktemp("commands"), upstreams={"stage": upstream}) as running:
        with httpx.Client(base_url=running.base_url, timeout=60) as client:

            def call(model: str, text: str, **more: Any) -> None:
                messages = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": text}]
                client.post("/chat/completions", json={"model": model, "messages": messages, **more})

            call("gpt-4o-mini", "Say hello.", user="ada", temperature=0.2)
            call("gpt-4.1", "What is the answer?", stream=True, metadata={"team": "blue"})
            call("gpt-4o", "Weather?", tools=[{"type": "function", "function": {"name": "get_weather"}}], user="bob")
            call("local", "Who?")
            call("busy", "Now!")
        running.wait_rows("1", {}, count=5)
        yield running


def _run(house: Penstock, *arguments: str) -> Result:
    """The command inside this process, which saves starting one: the store is asked for real."""
    return CliRunner().invoke(app, [*arguments, "--config", str(house.config_path)])


def _text(house: Penstock, *arguments: str) -> str:
    done = _run(house, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def _json(house: Penstock, *arguments: str) -> Any:
    return json.loads(_text(house, *arguments, "--json"))


def test_requests_lists_calls_in_their_order(house: Penstock) -> None:
    rows = _json(house, "requests")
    assert [row["model"] for row in rows] == ["gpt-4o-mini", "gpt-4.1", "gpt-4o", "local", "busy"]
    text = _text(house, "requests")
    assert [line.split()[3] for line in text.splitlines()[1:]] == [row["model"] for row in rows]
    assert all(row["request_id"] in text for row in rows)
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("filters", "models"),
    [
        (["--model", "gpt-4o*"], ["gpt-4o-mini", "gpt-4o"]),
        (["--model", "gpt-4o"], ["gpt-4o"]),
        (["--status", "429"], ["busy"]),
        (["--status", "2xx", "--limit", "1"], ["local"]),
        (["--errors"], ["busy"]),
        (["--user", "ada"], ["gpt-4o-mini"]),
        (["--user", "x' OR 1=1 --"], []),
        (["--tag", "team=blue"], ["gpt-4.1"]),
        (["--tag", "team"], ["gpt-4.1"]),
        (["--since", "2099-01-01"], []),
        (["--since", "1h", "-n", "2"], ["local", "busy"]),
    ],
)
def test_filters(house: Penstock, filters: list[str], models: list[str]) -> None:
    assert [row["model"] for row in _json(house, "requests", *filters)] == models


def test_a_call_is_shown_as_the_conversation_it_was(house: Penstock) -> None:
    (row,) = _json(house, "requests", "--model", "gpt-4o-mini")
    for name in (row["request_id"], row["request_id"][:16]):
        text = _text(house, "requests", "show", name)
        conversation = re.sub(r"\s+", " ", text[text.index("system") :])
        assert conversation.startswith("system Be terse. user Say hello. assistant Bonjour")
        assert "in 19 (8 cached)  out 10 (3 reasoning)" in text
        assert "user ada" in text
        assert '"temperature":0.2' in text
        assert re.search(r"try 1 +stage 127\.0\.0\.1:\d+  200", text)
        assert "\x1b" not in text  # the model's own escape sequence
        assert "�[31mred" in text


def test_tool_calls_are_shown(house: Penstock) -> None:
    (row,) = _json(house, "requests", "--model", "gpt-4o")
    text = _text(house, "requests", "show", row["request_id"])
    assert 'get_weather({"city":"Paris"})' in text.replace('": "', '":"')


def test_a_call_is_found_by_the_id_that_its_caller_holds(house: Penstock) -> None:
    shown = _json(house, "requests", "show", "chatcmpl-scripted")
    assert shown["response_id"] == "chatcmpl-scripted"
    assert shown["tries"][0]["status"] == "200"


@pytest.mark.parametrize(
    ("wanted", "said"), [("ffffffffffff", "There is no request 'ffffffffffff'"), ("01", "There is no request '01'")]
)
def test_no_such_call(house: Penstock, wanted: str, said: str) -> None:
    done = _run(house, "requests", "show", wanted)
    assert isinstance(done.exception, CommandFailed)
    assert said in str(done.exception)


def _shared(one: str, other: str) -> str:
    """What both begin with."""
    return "".join(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=True)))


def test_a_prefix_of_several_calls_is_refused(house: Penstock) -> None:
    ids = [row["request_id"] for row in _json(house, "requests")]
    # Ids begin with the time; in some second all their digits change, but not between every two calls.
    prefix = max((_shared(*pair) for pair in pairwise(ids)), key=len)
    done = _run(house, "requests", "show", prefix)
    assert "More than one request" in str(done.exception)


def test_stats_add_up(house: Penstock) -> None:
    rows = {row["model"]: row for row in _json(house, "stats")}
    assert rows["gpt-4o-mini"]["cost"] > 0
    assert (rows["local"]["cost"], rows["local"]["unpriced"]) == (None, 1)
    assert (rows["busy"]["errors"], rows["busy"]["cost"]) == (1, None)
    assert sum(row["calls"] for row in rows.values()) == 5
    assert rows["gpt-4.1"]["input_tokens"] == 100
    assert rows["gpt-4.1"]["ttft_ms"] > 0
    text = _text(house, "stats", "--plot")
    assert "1 call has no known price" in text
    assert "█" in text
    assert "█" not in _text(house, "stats")


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("user", {"ada", "bob", "-"}),
        ("tag:team", {"blue", "-"}),
        ("upstream", {"stage"}),
        ("outcome", {"answered"}),
        ("error", {"rate_limit_exceeded", "-"}),
    ],
)
def test_stats_by(house: Penstock, by: str, groups: set[str]) -> None:
    assert {row[by] for row in _json(house, "stats", "--by", by)} == groups


@pytest.mark.parametrize("by", ["key", "session", "provider", "endpoint", "prompt", "hour", "day"])
def test_every_way_to_group_is_sql_that_runs(house: Penstock, by: str) -> None:
    assert sum(row["calls"] for row in _json(house, "stats", "--by", by)) == 5


def test_savings_by_strategy_and_by_group(house: Penstock) -> None:
    (row,) = _json(house, "stats", "--savings")
    assert (row["strategy"], row["calls"]) == ("provider_cache", 2)
    assert row["paid"] == pytest.approx(sum(one["cost"] or 0 for one in _json(house, "stats")))
    by_model = {one["model"]: one["strategy"] for one in _json(house, "stats", "--savings", "--by", "model")}
    assert by_model == dict.fromkeys(("gpt-4o-mini", "gpt-4o"), "provider_cache") | dict.fromkeys(
        ("gpt-4.1", "local", "busy"), ""
    )
    head, line, paid = _text(house, "stats", "--savings").splitlines()
    assert head.split() == ["strategy", "calls", "saved", "share"]
    assert line.split()[:2] == ["provider_cache", "2"]
    assert paid.startswith("Paid $0.000")
    assert _text(house, "stats", "--savings", "--model", "busy") == ""


def test_tail_follows(house: Penstock, stage: Stage) -> None:
    arguments = ["tail", "--since", "1h", "--json", "--config", str(house.config_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        # Whoever runs the tests in the background of a shell has them ignore SIGINT, and so their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        before = [json.loads(process.stdout.readline())["model"] for _ in range(5)]
        assert sorted(before) == ["busy", "gpt-4.1", "gpt-4o", "gpt-4o-mini", "local"]
        stage.play(json_reply(chat_reply("more")))
        httpx.post(f"{house.base_url}/embeddings", json={"model": "late", "input": "x"}, timeout=60)
        assert json.loads(process.stdout.readline())["model"] == "late"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def _lines(house: Penstock) -> list[str]:
    """Of calls, whole ones."""
    whole = house.output().rpartition("\n")[0].splitlines()
    return [line for line in whole if re.match(r"\d\d:\d\d:\d\d  [2-5]\d\d  ", line)]


def test_each_call_was_one_line_on_the_terminal(house: Penstock) -> None:
    """The terminal is a sink of its own: its lines need not be there with the rows."""
    wanted = {"gpt-4o-mini", "gpt-4.1", "gpt-4o", "local", "busy"}
    lines = until(lambda: _lines(house), lambda found: {line.split()[2] for line in found} >= wanted, 60)
    assert {line.split()[2] for line in lines} >= wanted
    (busy,) = (line for line in lines if " busy " in line)
    assert "rate_limit_exceeded" in busy
    assert "OPENAI_BASE_URL=" + house.base_url in house.output()


def test_migrate_finds_nothing_to_do_or_does_it(house: Penstock) -> None:
    assert _text(house, "migrate", "--dry-run") == "-- nothing is missing\n"
    assert "is up to date" in _text(house, "migrate")


def test_check_and_probe(house: Penstock, stage: Stage) -> None:
    stage.play(json_reply({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}))
    assert "stage  answers, 2 models" in _text(house, "check", "--probe")
    stage.play(json_reply({}, 404))
    done = _run(house, "check", "--probe")
    assert done.exit_code == 1
    assert "has no /models" in done.stdout


def test_a_report_without_a_running_penstock_says_what_to_do(tmp_path: Path) -> None:
    stopped = Penstock(tmp_path, upstreams={"nobody": "http://127.0.0.1:1/v1"})
    for command in (["stats"], ["requests"], ["tail"], ["migrate"], ["requests", "show", "x"]):
        assert "Start `penstock serve`" in str(_run(stopped, *command).exception)
    done = stopped.command("stats")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("penstock: The embedded store in ")
