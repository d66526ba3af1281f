"""The whole loop with a real small model: from traffic to a promoted adapter, as `make demo` runs it, but smaller.

What is asserted is that each part did its work and that the next one took it up; how well the model answers is asserted
only as far as the loop itself measures it, beyond its intervals.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo.__main__ import make_anew
from deploy.demo.conversations import is_in_style
from deploy.demo.loop import ALIAS, BASE, RUN, TUNED, Size, Told, loop
from deploy.demo.report import report
from deploy.demo.stage import DemoFailed

SIZE = Size(conversations=110, steps=16, evaluated=10, sessions=8, threads=1)
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return loop(tmp_path_factory.mktemp("demo"), SIZE)


def test_a_folder_that_somebody_has_something_in_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").touch()
    with pytest.raises(DemoFailed, match="name another --folder"):
        make_anew(tmp_path)
    with pytest.raises(DemoFailed, match="name another --folder"):
        make_anew(tmp_path / "penstock.toml")
    assert (tmp_path / "penstock.toml").is_file()
    for _ in range(2):
        make_anew(tmp_path / "new" / "demo")
        (tmp_path / "new" / "demo" / "report.md").touch()
    make_anew(tmp_path / "new" / "demo")
    assert [one.name for one in (tmp_path / "new" / "demo").iterdir()] == [".demo"]


def test_what_was_said_is_learnt(told: Told) -> None:
    assert told.manifest["written"] > 100
    assert told.run["state"] == "finished"
    assert told.run["perplexity"]["tuned"]["high"] < told.run["perplexity"]["base"]["low"]


def test_the_tuned_model_is_better_than_chance_explains(told: Told) -> None:
    assert told.evaluation["tuned"] == TUNED
    assert told.evaluation["examples"] == SIZE.evaluated
    style = told.evaluation["compared"][TUNED]["pattern:style"]
    assert style["low"] > 0
    assert style["p"] < 0.05
    assert told.evaluation["models"][BASE]["pattern:style"]["mean"] == 0
    assert told.evaluation["recorded"] == 2 * 4 * SIZE.evaluated, "each score is in ClickHouse"


def test_the_alias_is_answered_by_whom_it_was_promoted_to(told: Told) -> None:
    """As the rows of ClickHouse say."""
    first, then = told.variants.values()
    assert set(first) <= {"base", RUN}
    assert sum(first.values()) == SIZE.sessions
    assert then == {RUN: SIZE.sessions}
    assert is_in_style(told.answer)
    assert any(command.endswith(f"--alias {ALIAS} --rollback") for command in told.commands)


def test_no_call_failed(told: Told) -> None:
    assert told.calls > SIZE.conversations + 2 * SIZE.evaluated + 2 * SIZE.sessions
    assert told.failed == 0


def test_the_report_says_all_of_it(told: Told) -> None:
    text = report(told, SIZE)
    assert f"{SIZE.conversations} conversations became {told.manifest['written']} examples" in text
    assert "| pattern:style | 0.00 " in text
    assert told.answer in text
