"""`penstock dataset` from its options to what is said, over files of calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from exporters.datasets.building import build as building
from exporters.datasets.describing.manifest import TRAINED
from proxy.cli import app
from proxy.commands.dataset_run import EXTRA
from proxy.commands.failure import CommandFailed
from tests.unit.proxy.commands.interpreter import REPOSITORY, python

QUICK = ("--no-near", "--benchmark", "none", "--validation", "0.2", "--test", "0.2")
"""What takes a second to load is not what is tested here."""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pictures take half a second. The datasets are in the working directory."""
    monkeypatch.setattr("exporters.datasets.describing.manifest.draw", lambda *_: [])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(call(number)) + "\n" for number in range(60)))


def call(number: int) -> dict[str, Any]:
    question = f"What is the plan for day {number}?"
    answer = "" if number == 50 else f"On day {number} we count to {number * 7}."
    return {
        "request_id": f"req-{number:04d}",
        "timestamp": f"2026-10-{1 + number % 28:02d}T10:00:00Z",
        "model": "gpt-5-mini",
        "user": f"user-{number % 10}",
        "finish_reasons": ["stop"],
        "input_messages": [{"role": "user", "parts": [{"type": "text", "content": question}]}],
        "output_messages": [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}],
        "input_tokens": 12,
        "output_tokens": 8,
    }


def run(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(app, ["dataset", *words])
    if status != 1 and done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, ["dataset", *words])
    assert isinstance(done.exception, CommandFailed), done.output
    return str(done.exception)


def built(name: str = "plans", *words: str) -> dict[str, Any]:
    done = run("build", name, "--from", "calls.jsonl", *QUICK, *words, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_build_says_what_became_of_the_rows() -> None:
    done = run("build", "plans", "--from", "calls.jsonl", *QUICK)
    words = done.stdout.split()
    assert words[:6] == ["plans", "59", "examples", "of", "60", "rows"]
    assert "the answer is empty" in done.stdout
    assert "penstock dataset show plans" in done.stdout
    assert Path("penstock-datasets/plans/train.jsonl").is_file()


def test_build_as_json_is_the_manifest() -> None:
    found = built()
    assert found == json.loads(Path("penstock-datasets/plans/manifest.json").read_text())
    assert found["selected"] == found["written"] + sum(found["dropped"].values()) == 60


def test_a_name_that_is_taken_is_kept_unless_it_is_to_be_replaced() -> None:
    built()
    assert "--replace" in refused("build", "plans", "--from", "calls.jsonl", *QUICK)
    note = Path("penstock-datasets/plans") / TRAINED
    note.write_text('{"run": "a"}\n')
    assert built("plans", "--replace", "--limit", "10")["written"] <= 10
    assert note.read_text() == '{"run": "a"}\n'


def test_datasets_are_where_they_were_asked_for(tmp_path: Path) -> None:
    built("plans", "--root", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "plans" / "manifest.json").is_file()
    assert json.loads(run("list", "--root", str(tmp_path / "elsewhere"), "--json").stdout)[0]["name"] == "plans"
    assert json.loads(run("list", "--json").stdout) == []
    assert json.loads(run("show", str(tmp_path / "elsewhere" / "plans"), "--json").stdout)["name"] == "plans"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "../x", "--from", "calls.jsonl"], "no name for a dataset"),
        (["build", ".x", "--from", "calls.jsonl"], "no name for a dataset"),
        (["build", "x", "--since", "yesterday"], "--since"),
        (["build", "x", "--until", "tomorrow"], "--until"),
        (["build", "x", "--since", "1d", "--until", "2d"], "--since is not before --until"),
        (["build", "x", "--from", "a", "--validation", "0.5", "--test", "0.5"], "leave nothing for train"),
        (["build", "x", "--from", "a", "--sample", "5"], "--sample-by"),
        (["build", "x", "--from", "a", "--pattern", "x"], "KIND=REGEX"),
        (["build", "x", "--from", "a", "--format", "csv"], "--format cannot be used: Invalid enum value 'csv'"),
        (["build", "x", "--from", "nowhere.jsonl"], "nowhere.jsonl"),
        (["build", "x", "--data-dir", "nowhere"], "Start `penstock serve`"),
        (["build", "x", "--from", "calls.jsonl", *QUICK, "--min-tokens", "1000"], "Nothing is left of 60 rows"),
        (["build", "x", "--from", "calls.jsonl", "--no-near", "--benchmark", "a"], "There is no benchmark 'a'"),
        (["show", "x"], "There is no dataset x"),
        (["show", 300 * "x"], "There is no dataset xxx"),
        (["show", "calls.jsonl"], "Make a dataset of it: penstock dataset build NAME --from calls.jsonl"),
        (["stats", "x"], "There is no dataset x"),
        (["diff", "x", "y"], "There is no dataset x"),
        (["rebuild", "x"], "There is no dataset x"),
        (["validate", "x"], "There is no dataset x"),
        (["trace", "x:1"], "There is no file x"),
        (["forget"], "--user NAME, or --request ID"),
        (["forget", "--user", ""], "--user NAME, or --request ID"),
        (["forget", "--user", "a", "--request", ""], "--user NAME, or --request ID"),
        (["forget", "x", "--user", "a"], "There is no dataset x"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_leaves_nothing(words: list[str], said: str) -> None:
    assert said in refused(*words)
    root = Path("penstock-datasets")
    assert not root.exists() or [*root.iterdir()] == []


@pytest.mark.parametrize(
    "words", [["build"], ["build", "x", "--near", "2"], ["build", "x", "--limit", "0"], ["trace"], ["diff", "a"], ["x"]]
)
def test_what_is_not_understood_is_a_usage_error(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["dataset", *words]).exit_code == 2


def test_list_show_and_stats() -> None:
    built()
    assert run("list").stdout.splitlines()[1].split()[:4] == ["plans", "59", "0", "1,180"]
    shown = run("show", "plans").stdout
    assert "penstock dataset build plans --from calls.jsonl --no-near" in shown
    assert "gpt-4.1-mini" in shown
    assert "train.jsonl" in shown
    counts = json.loads(run("stats", "plans", "--json").stdout)
    assert counts["model"] == {"gpt-5-mini": 59}
    assert sum(counts["tokens"].values()) == 59
    assert "gpt-5-mini" in run("stats", "plans").stdout


def test_a_damaged_dataset_hides_no_other_from_the_list() -> None:
    built("b")
    for name in ("a", "c"):
        Path("penstock-datasets", name).mkdir()
        Path("penstock-datasets", name, "manifest.json").write_text("{")
    done = CliRunner().invoke(app, ["dataset", "list", "--json"])
    assert [one["name"] for one in json.loads(done.stdout)] == ["b"]
    assert [line.split(" ")[0] for line in str(done.exception).splitlines()] == [
        "penstock-datasets/a/manifest.json",
        "penstock-datasets/c/manifest.json",
    ]


def test_diff() -> None:
    built("a")
    built("b", "--limit", "20")
    found = json.loads(run("diff", "a", "b", "--json", "--limit", "2").stdout)
    assert found["only_in_first"] == 59 - found["in_both"]
    assert len(found["first_ids"]) == 2
    said = run("diff", "a", "b").stdout
    assert "select.limit" in said
    assert f"Only in a: {found['only_in_first']}" in said


def test_validate_a_dataset_and_a_file() -> None:
    built()
    assert json.loads(run("validate", "plans", "--json", status=0).stdout)["ok"] is True
    path = Path("penstock-datasets/plans/train.jsonl")
    path.write_text(path.read_text() + '{"messages": []}\n')
    found = json.loads(run("validate", "plans", "--json", status=1).stdout)
    assert found["changed"] == ["train.jsonl"]
    said = run("validate", str(path), status=1).stdout
    assert f"line {len(path.read_text().splitlines())}" in said
    assert "train.jsonl is not as the manifest says" in run("validate", "plans", status=1).stdout


def test_trace_says_where_an_example_is_from() -> None:
    built()
    place = "penstock-datasets/plans/train.jsonl:1"
    found = json.loads(run("trace", place, "--json").stdout)
    line = json.loads(Path("penstock-datasets/plans/train.jsonl").read_text().splitlines()[0])
    asked = call(int(found["request_id"][4:]))["input_messages"][0]["parts"][0]["content"]
    assert line["messages"][0]["content"] == asked
    assert found["call"] is None
    assert "calls.jsonl" in found["unknown_because"]
    assert found["request_id"] in run("trace", place).stdout


def test_forget_takes_a_person_out_of_all_datasets_and_rebuild_does_not_bring_them_back() -> None:
    built("a")
    built("b", "--format", "sharegpt")
    Path("penstock-datasets/b", TRAINED).write_text('{"run": "r1", "base": "qwen3"}\n')
    found = json.loads(run("forget", "--user", "user-3", "--json").stdout)
    assert [(one["dataset"], one["examples"]) for one in found] == [("a", 6), ("b", 6)]
    assert found[1]["trained"] == [{"run": "r1", "base": "qwen3"}]
    assert "Nothing of them" in run("forget", "--user", "user-3").stdout
    again = json.loads(run("rebuild", "a", "--json").stdout)
    assert again["written"] == 53
    assert "user-3" not in json.dumps(again)


def test_a_dataset_can_be_named_from_inside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built()
    monkeypatch.chdir("penstock-datasets/plans")
    assert json.loads(run("forget", ".", "--user", "user-3", "--json").stdout)[0]["dataset"] == "plans"
    os.chdir(tmp_path)  # another has taken the place of where it was
    assert [path.name for path in Path("penstock-datasets").iterdir()] == ["plans"]


@pytest.mark.parametrize("names", [(), ("a",)])
def test_forget_looks_into_what_a_killed_command_left(names: tuple[str, ...]) -> None:
    """One was killed when the new dataset had its name, the other between the two renames."""
    root = Path("penstock-datasets")
    built("a")
    shutil.copytree(root / "a", root / ".a.building-1" / "replaced")
    run("forget", "--user", "user-3", *names)
    assert [path.name for path in root.iterdir()] == ["a"]
    built("b")
    (root / ".b.building-1").mkdir()
    (root / "b").rename(root / ".b.building-1" / "replaced")
    assert "6 examples" in run("forget", "--user", "user-3", *(names and ("b",))).stdout


def test_forget_says_which_models_had_learnt() -> None:
    built("a")
    Path("penstock-datasets/a", TRAINED).write_text('{"run": "r1", "base": "qwen3"}\n')
    said = run("forget", "a", "--request", "req-0001", "--request", "req-0002").stdout
    assert "2 examples and 0 calls" in said
    assert "was trained on it: run r1  base qwen3" in said


def test_what_cannot_be_looked_into_is_said_before_anything_is_changed() -> None:
    built("a")
    built("b")
    Path("penstock-datasets/b/manifest.json").write_text("{}")
    before = Path("penstock-datasets/a/manifest.json").read_text()
    assert "penstock-datasets/b" in refused("forget", "--user", "user-3")
    assert Path("penstock-datasets/a/manifest.json").read_text() == before


def test_a_fault_in_one_dataset_does_not_hide_what_was_done_to_another() -> None:
    built("a")
    built("b")
    Path("penstock-datasets/a", TRAINED).write_text('{"run": "r1"}\n')
    Path("penstock-datasets/b/left-out.jsonl.zst").write_bytes(b"broken")
    done = CliRunner().invoke(app, ["dataset", "forget", "--user", "user-3"])
    assert isinstance(done.exception, CommandFailed)
    assert "was trained on it: run r1" in done.stdout


def test_what_cannot_be_looked_into_is_not_said_to_hold_nothing_of_them() -> None:
    built("a")
    Path("penstock-datasets/a/left-out.jsonl.zst").write_bytes(b"broken")
    done = CliRunner().invoke(app, ["dataset", "forget", "--user", "user-3"])
    assert isinstance(done.exception, CommandFailed)
    assert done.stdout == ""


def test_what_options_alone_do_not_make_is_not_rebuilt() -> None:
    built()
    path = Path("penstock-datasets/plans/manifest.json")
    manifest = json.loads(path.read_text()) | {"lineage": [{"action": "relabel"}]}
    path.write_text(json.dumps(manifest))
    assert "relabel" in refused("rebuild", "plans")


def test_a_build_that_is_broken_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_choose", broken)
    done = CliRunner().invoke(app, ["dataset", "build", "plans", "--from", "calls.jsonl", *QUICK])
    assert done.exit_code != 0
    assert [*Path("penstock-datasets").iterdir()] == []


def test_every_library_of_the_extra_is_looked_for() -> None:
    extra = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["datasets"]
    assert {re.split("[>=<]", one)[0].removeprefix("python-") for one in extra} == EXTRA


@pytest.mark.parametrize("library", ["numpy", "matplotlib", "stdnum"])
def test_without_the_extra_one_line_says_what_to_install(library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from proxy.cli import main; main()"
    done = python(code, "dataset", "build", "plans", "--from", "calls.jsonl", *QUICK)
    assert done.returncode == 1
    assert done.stderr == f"penstock: {library} is not installed. Datasets need: pip install 'penstock[datasets]'\n"
    assert not Path("penstock-datasets").exists()  # nobody waits for a build that cannot end


def test_what_only_reads_a_dataset_loads_nothing_of_a_build() -> None:
    code = "import sys, exporters.datasets.describing.catalog; print({'rensa', 're2', 'phonenumbers'} & {*sys.modules})"
    assert python(code).stdout.strip() == "set()"


def test_the_proxy_loads_none_of_the_heavy_libraries() -> None:
    heavy = (*sorted(EXTRA), "presidio_analyzer")
    code = (
        f"import sys, proxy.cli, proxy.app, proxy.recording; print([name for name in {heavy} if name in sys.modules])"
    )
    assert python(code).stdout.strip() == "[]"
