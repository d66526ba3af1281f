"""Who may be promoted, how shares move, and what a roll-back finds again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetune.errors import FinetuneError
from finetune.promote import Promotion, objection, promote, roll_back, shares
from finetune.promotions import Step, read_steps, write_step
from finetune.run import Run, RunFile, Trained

OPENAI = [{"name": "openai", "base_url": "https://api.openai.com/v1"}]
CONFIGURED = '[[upstreams]]\nname = "openai"  # ours\nbase_url = "https://api.openai.com/v1"\n'
URL = "http://127.0.0.1:8080/v1"


def run(tmp_path: Path, evaluation: dict[str, Any] | None = None, **changes: Any) -> Run:
    given: dict[str, Any] = {"method": "lora", "state": "finished", "arguments": {}, "base": "b", "name": "v1"}
    trained = Trained(name="support", folder="/d", sha256="0")
    made = Run.create(tmp_path / "runs", RunFile(dataset=trained, **given | changes))
    if evaluation is not None:
        made.evaluation.write_bytes(msgspec.json.encode(evaluation))
    return made


def evaluated(difference: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    return {
        "version": 1, "split": "test", "baseline": "gpt-5-mini", "tuned": "v1", "primary": "exact",
        "higher_is_better": {"exact": True}, "models": {},
        "compared": {"v1": {"exact": {"difference": difference, "low": low, "high": high, "p": 0.01, "n": 40}}},
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("evaluation", "changes", "says"),
    [
        (evaluated(0.1, 0.05, 0.2), {}, ""),
        (evaluated(-0.1, -0.3, 0.1), {}, ""),  # it may be chance
        (evaluated(-0.1, -0.3, 0.0), {}, ""),
        (evaluated(-0.2, -0.3, -0.1), {}, "v1 is worse than gpt-5-mini: exact -0.2 (-0.3 to -0.1)"),
        (evaluated(0.2, 0.1, 0.3, higher_is_better={"exact": False}), {}, "less would be better"),
        (evaluated(-0.2, -0.3, -0.1, higher_is_better={"exact": False}), {}, ""),
        (None, {}, "penstock evaluate --dataset support --split test --run v1"),
        (evaluated(0.1, 0.05, 0.2, split="train"), {}, "what it was trained on"),
        (evaluated(0.1, 0.05, 0.2, tuned=""), {}, "does not compare"),
        (evaluated(0.1, 0.05, 0.2, primary="rouge"), {}, "does not compare"),
        (evaluated(0.1, 0.05, 0.2), {"state": "interrupted"}, "is interrupted, not finished"),
    ],
)
def test_what_speaks_against_a_run(tmp_path: Path, evaluation: Any, changes: dict[str, Any], says: str) -> None:
    found = objection(run(tmp_path, evaluation, **changes))
    assert says in found
    assert bool(says) == bool(found)


def test_an_evaluation_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    made = run(tmp_path, {"primary": 7})
    with pytest.raises(FinetuneError, match=r"evaluation.json is no evaluation"):
        objection(made)


def wanted(share: float, **changes: Any) -> Promotion:
    given: dict[str, Any] = {"alias": "bot", "variant": "v1", "model": "v1", "share": share}
    return Promotion(**given | {"upstream": "v1", "url": URL, "base_model": "gpt-5-mini"} | changes)


def test_a_new_alias_and_its_upstream(tmp_path: Path) -> None:
    made, step = promote(CONFIGURED, wanted(10, sticky="user", prune=("Be brief.",)), OPENAI)
    assert made.startswith(CONFIGURED)
    assert tomllib.loads(made) == {
        "upstreams": [OPENAI[0], {"name": "v1", "base_url": URL, "models": ["v1"], "batch": "local"}],
        "models": [
            {
                "name": "bot",
                "sticky": "user",
                "baseline": "base",
                "variants": [
                    {"name": "base", "model": "gpt-5-mini", "weight": 90},
                    {"name": "v1", "model": "v1", "weight": 10, "upstream": "v1", "prune": ["Be brief."]},
                ],
            }
        ],
    }
    assert (step.before, step.after, step.upstream) == ({}, {"base": 90, "v1": 10}, "v1")


def test_a_file_without_upstreams_keeps_the_one_that_it_had_without_saying() -> None:
    made, _ = promote("", wanted(10), OPENAI)
    assert [one["name"] for one in tomllib.loads(made)["upstreams"]] == ["openai", "v1"]
    made, _ = promote("", wanted(10, url="", upstream="", model="ft:gpt"), OPENAI)
    assert "upstreams" not in tomllib.loads(made)


def test_shares_of_several_keep_their_proportions() -> None:
    made, _ = promote(CONFIGURED, wanted(40), OPENAI)
    made, _ = promote(made, wanted(10, variant="v2", model="v2", url="", upstream=""), OPENAI)
    assert shares(made, "bot") == {"base": 54, "v1": 36, "v2": 10}
    made, step = promote(made, wanted(100, variant="v2", model="v2", url="", upstream=""), OPENAI)
    assert step.after == {"base": 0, "v1": 0, "v2": 100}
    made, _ = promote(made, wanted(30, variant="v2", model="v2", url="", upstream=""), OPENAI)
    assert shares(made, "bot") == {"base": 70, "v1": 0, "v2": 30}


def test_the_same_again_changes_nothing() -> None:
    made, _ = promote(CONFIGURED, wanted(10), OPENAI)
    assert promote(made, wanted(10), OPENAI)[0] == made
    assert promote(made, wanted(10, url="", upstream="", base_model=""), OPENAI)[0] == made


def test_a_model_that_moved_is_found_at_its_new_address() -> None:
    made, _ = promote(CONFIGURED, wanted(10), OPENAI)
    moved, _ = promote(made, wanted(10, url="http://127.0.0.1:9/v1"), OPENAI)
    assert tomllib.loads(moved)["upstreams"][1]["base_url"] == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_model": ""}, "--base-model"),
        ({"upstream": "nowhere", "url": ""}, "There is no upstream nowhere"),
        ({"upstream": "openai"}, "The upstream openai is at https://api.openai.com/v1. Name another one"),
    ],
)
def test_what_is_missing_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FinetuneError, match=says):
        promote(CONFIGURED, wanted(10, **changes), OPENAI)


def steps_of(text: str, *each: Promotion) -> tuple[str, list[Step]]:
    steps = []
    for one in each:
        text, step = promote(text, one, OPENAI)
        steps.append(step)
    return text, steps


def test_a_roll_back_takes_the_variant_out_however_far_it_had_come() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10), wanted(50), wanted(100))
    back, step = roll_back(text, "bot", steps)
    assert (step.before, step.after) == ({"base": 0, "v1": 100}, {"base": 100})
    assert [one["name"] for one in tomllib.loads(back)["upstreams"]] == ["openai"]
    with pytest.raises(FinetuneError, match="Nothing was promoted"):
        roll_back(back, "bot", [*steps, step])


def test_a_roll_back_of_the_second_leaves_the_first_as_it_was() -> None:
    v2 = {"variant": "v2", "model": "v2", "upstream": "v2"}
    text, steps = steps_of(CONFIGURED, wanted(10), wanted(40), wanted(5, **v2), wanted(60, **v2))
    back, step = roll_back(text, "bot", steps)
    assert shares(back, "bot") == {"base": 60, "v1": 40}
    assert [one["name"] for one in tomllib.loads(back)["upstreams"]] == ["openai", "v1"]
    back, _ = roll_back(back, "bot", [*steps, step])
    assert shares(back, "bot") == {"base": 100}


def test_a_roll_back_works_when_somebody_has_taken_the_upstream_away_and_keeps_what_others_wrote() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10))
    text = text.replace("weight = 90", "weight = 90  # careful").split('[[upstreams]]\nname = "v1"')[0] + text[
        text.index("[[models]]") :
    ].replace("weight = 90", "weight = 90  # careful")
    back, _ = roll_back(text, "bot", steps)
    assert "weight = 100  # careful" in back
    assert shares(back, "bot") == {"base": 100}


def test_a_roll_back_leaves_an_upstream_that_another_alias_uses() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10), wanted(10, alias="second", url=""))
    back, _ = roll_back(text, "bot", steps)
    assert [one["name"] for one in tomllib.loads(back)["upstreams"]] == ["openai", "v1"]


def test_what_the_proxy_refused_was_never_promoted() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10))
    _, more = steps_of(text, wanted(50, variant="v2", model="v2", upstream="v2"))
    refused = msgspec.structs.replace(more[0], action="refused")
    back, step = roll_back(text, "bot", [*steps, *more, refused])
    assert step.variant == "v1"
    assert shares(back, "bot") == {"base": 100}


def test_a_roll_back_that_the_proxy_refused_can_be_tried_again() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10), wanted(30, variant="v2", model="v2", upstream="v2"))
    _, back = roll_back(text, "bot", steps)
    _, again = roll_back(text, "bot", [*steps, back, msgspec.structs.replace(back, action="refused")])
    assert again == back
    assert again.variant == "v2"


def test_a_roll_back_leaves_what_somebody_made_of_the_others_by_hand() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10))
    other = '\n[[models.variants]]\nname = "c"\nmodel = "c"\nweight = 30\n'
    by_hand = text.replace("weight = 90", "weight = 60") + other
    back, _ = roll_back(by_hand, "bot", steps)
    assert shares(back, "bot") == {"base": 66.6667, "c": 33.3333}
    text, more = steps_of(by_hand, wanted(100))
    assert shares(text, "bot") == {"base": 0, "v1": 100, "c": 0}
    back, _ = roll_back(text, "bot", [*steps, *more])
    assert shares(back, "bot") == {"base": 66.6667, "c": 33.3333}


def test_a_variant_that_was_taken_out_by_hand_and_promoted_again_goes_back_to_that() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10))
    by_hand = (
        text.replace("weight = 90", "weight = 1")
        .replace("weight = 10", "weight = 3")
        .replace('name = "v1"\nmodel = "v1"\n', 'name = "c"\nmodel = "c"\n')
    )
    text, more = steps_of(by_hand, wanted(50))
    back, _ = roll_back(text, "bot", [*steps, *more])
    assert shares(back, "bot") == {"base": 25, "c": 75}


def test_a_promotion_that_never_came_into_the_file_changes_nothing_of_a_roll_back() -> None:
    text, steps = steps_of(CONFIGURED, wanted(10))
    _, lost = steps_of(text, wanted(50))
    back, _ = roll_back(text, "bot", [*steps, *lost])
    assert tomllib.loads(back)["models"][0]["variants"] == [{"name": "base", "model": "gpt-5-mini", "weight": 100}]


def test_the_journal_outlives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert read_steps(path) == []
    first = Step(action="promote", alias="bot", variant="v1", weights={"base": 100})
    write_step(path, first)
    with path.open("ab") as file:
        file.write(b'{"action":"promo')
    assert read_steps(path) == [first]
    second = msgspec.structs.replace(first, action="rollback")
    write_step(path, second)
    assert read_steps(path) == [first, second]
    path.write_bytes(b"{}\n")
    with pytest.raises(FinetuneError, match="is damaged"):
        read_steps(path)
