"""`penstock dataset relabel` and `prune`: what is said before anything is asked or cut, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from proxy.cli import app
from proxy.commands.dataset_prices import price_of
from proxy.commands.failure import CommandFailed
from proxy.settings import Price, Settings, Upstream
from tests.unit.exporters.datasets.changing.test_pruning import SHOP, prompt
from tests.unit.exporters.datasets.made import made, options

RELABEL = ("relabel", "plans", "--model", "gpt-5")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dataset of which all prompts begin alike. Pictures take half a second."""
    monkeypatch.setattr("exporters.datasets.describing.manifest.draw", lambda *_: [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODD_KEY", "schlüssel")
    write = options().write.__class__(formats=("openai",))
    rows = [prompt(number, f"{SHOP}Today is day {number}.") for number in range(30)]
    made(tmp_path / "penstock-datasets", rows, options(write=write))


def run(*words: str, status: int = 0, typed: str = "") -> Result:
    done = CliRunner().invoke(app, ["dataset", *words], input=typed)
    assert done.exit_code == status, (done.output, done.exception)
    return done


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, ["dataset", *words])
    assert isinstance(done.exception, CommandFailed), done.output
    return str(done.exception)


def test_what_it_will_cost_is_said_and_no_is_no() -> None:
    done = run(*RELABEL, status=1, typed="n\n")
    assert "30 questions for gpt-5, about 735 tokens to read and 150 to write: about $0.00" in done.stderr
    assert "Ask them?" in done.stderr
    assert [path.name for path in Path("penstock-datasets").iterdir()] == ["plans"]


def test_a_price_that_is_not_known_needs_a_yes() -> None:
    assert "What model-x costs is not known" in refused("relabel", "plans", "--model", "model-x")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch", "later"), "--batch takes off, hold, async."),
        (("--split", "all"), "--split takes train, validation, test."),
        (("--as", "../there"), "--as: '../there' is no name for a dataset"),
        (("--as", 300 * "x"), "is no name for a dataset"),
        (("--as", "plans", "--yes"), "There is a dataset plans"),
        (("--api-key", "env:NO_SUCH_KEY", "--yes"), "NO_SUCH_KEY is not set"),
        (("--api-key", "sk-123", "--yes"), "env:NAME or file:PATH"),
        (("--api-key", "env:ODD_KEY", "--yes"), "characters that cannot be sent in a header"),
    ],
)
def test_what_is_refused_before_anything_is_asked(words: tuple[str, ...], said: str) -> None:
    assert said in refused(*RELABEL, *words)


@pytest.mark.parametrize("command", [("relabel", "none", "--model", "gpt-5"), ("prune", "none")])
def test_a_dataset_that_is_not_there(command: tuple[str, ...]) -> None:
    assert "There is no dataset none" in refused(*command)


def test_prune_shows_what_could_be_cut_and_cuts_nothing() -> None:
    done = run("prune", "plans")
    assert "100%" in done.output
    assert "You answer customers of a shop" in done.output
    assert [path.name for path in Path("penstock-datasets").iterdir()] == ["plans"]


def test_prune_applied_is_another_dataset_and_says_what_it_saves() -> None:
    found = json.loads(run("prune", "plans", "--apply", "--json").output)
    (one,) = found["beginnings"]
    assert (one["text"], one["share"], one["cut"], one["examples"]) == (SHOP.rstrip(), 1.0, True, 30)
    assert 15 < one["tokens"] < 30
    assert 0 < one["usd_per_1000_calls"] < 1
    assert found["dataset"] == "plans-pruned"
    manifest = json.loads(Path("penstock-datasets/plans-pruned/manifest.json").read_text())
    assert manifest["options"]["write"]["prune"] == [SHOP.rstrip()]
    assert SHOP.rstrip()[:30] not in Path("penstock-datasets/plans-pruned/train.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--as", "short"), "--as names the dataset that --apply makes"),
        (
            ("--apply", "--as", "plans"),
            "There is a dataset plans in penstock-datasets already. Choose another name with",
        ),
        (("--apply", "--as", 300 * "x"), "is no name for a dataset"),
    ],
)
def test_what_prune_refuses(words: tuple[str, ...], said: str) -> None:
    assert said in refused("prune", "plans", *words)


def test_answers_that_cannot_be_kept_are_said_before_anything_is_asked() -> None:
    Path("penstock-datasets/.plans-relabeled.relabeling.jsonl").mkdir()
    assert "The answers cannot be kept in penstock-datasets: Is a directory" in refused(*RELABEL, "--yes")


def test_prune_finds_nothing_to_cut_at_a_share_that_nothing_has() -> None:
    root = Path("penstock-datasets")
    other = [prompt(number, SHOP if number % 4 == 0 else "") for number in range(40)]
    made(root, other, options("few", write=options().write.__class__(formats=("openai",))))
    assert "Lower --min-share" in refused("prune", "few", "--apply")
    run("prune", "few", "--apply", "--min-share", "0.1")


def test_prices_are_those_of_the_upstream_that_serves_the_model() -> None:
    settings = Settings(
        upstreams=(Upstream(name="own", base_url="http://127.0.0.1:1/v1", models=("own-*",)), Settings().upstreams[0]),
        prices={"own-dear": Price(input=2.0, output=8.0, tiers={"batch": 0.5})},
    )
    assert price_of(settings, "own-dear", waits=False)(1_000_000, 1_000_000) == pytest.approx(10.0)
    assert price_of(settings, "own-dear", waits=True)(1_000_000, 1_000_000) == pytest.approx(5.0)
    assert price_of(settings, "own-free", waits=True)(1, 1) is None
    standard, half = (price_of(settings, "gpt-5", waits=waits)(1_000_000, 0) for waits in (False, True))
    assert standard is not None
    assert half == pytest.approx(standard / 2)
