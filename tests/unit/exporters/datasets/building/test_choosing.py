"""What is left of a set of rows: each step drops what it should, the best stays, and order does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporters.datasets.building.choosing import Choice, choose
from exporters.datasets.index import ROW, digest
from exporters.datasets.options import Arrange, Deduplicate, Options, Select
from exporters.datasets.reasons import Reason

NO_PREFIXES = np.zeros(0, np.uint64)
TRAIN = Arrange(validation=0, test=0)


def rows(*facts: dict[str, Any]) -> NDArray[Any]:
    found = np.zeros(len(facts), ROW)
    for number, fact in enumerate(facts):
        for name in ("order", "whole", "text", "root"):
            found[number][name] = digest(name, str(number))
        found[number]["score"] = np.nan
        for name, value in fact.items():
            found[number][name] = digest(name, value) if isinstance(value, str) else value
    return found


def chosen(made: NDArray[Any], prefixes: Any = NO_PREFIXES, clusters: Any = None, **sections: Any) -> Choice:
    return choose(made, prefixes, Options(name="d", **({"arrange": TRAIN} | sections)), clusters)


def reasons(choice: Choice) -> list[str]:
    return [Reason(value).name for value in choice.reason.tolist()]


def test_the_beginning_of_another_conversation_is_dropped() -> None:
    made = rows({}, {})
    assert reasons(chosen(made, made["whole"][:1])) == ["PREFIX", "KEPT"]
    assert reasons(chosen(made, made["whole"][:1], deduplicate=Deduplicate(keep_prefixes=True))) == ["KEPT", "KEPT"]


def test_a_corrected_answer_is_kept_though_the_conversation_went_on() -> None:
    made = rows({"paired": 1})
    assert reasons(chosen(made, made["whole"])) == ["KEPT"]


@pytest.mark.parametrize(
    "best",
    [{"paired": 1, "score": 0.1}, {"score": 0.9}, {"score": 0.5, "turns": 4}],
    ids=["corrected", "scored", "longer"],
)
def test_of_equal_texts_the_best_stays(best: dict[str, Any]) -> None:
    plain = {"text": "same", "score": 0.5, "turns": 2}
    made = rows(plain, {"text": "same"}, {**plain, **best}, {"text": "other"})
    assert reasons(chosen(made)) == ["EXACT_DUPLICATE", "EXACT_DUPLICATE", "KEPT", "KEPT"]
    assert set(reasons(chosen(made, deduplicate=Deduplicate(exact=False)))) == {"KEPT"}


def test_of_a_cluster_the_best_stays_and_only_what_is_left_is_compared() -> None:
    made = rows({"text": "a", "score": 0.2}, {"text": "a"}, {"score": 0.7}, {})
    seen: list[list[int]] = []

    def clusters(here: NDArray[np.int64]) -> NDArray[np.int64]:
        seen.append(here.tolist())
        return np.array([0, 0, 3])

    choice = chosen(made, clusters=clusters)
    assert seen == [[0, 2, 3]]
    assert reasons(choice) == ["NEAR_DUPLICATE", "EXACT_DUPLICATE", "KEPT", "KEPT"]
    assert choice.cluster.tolist() == [0, 1, 0, 3]


def test_a_benchmark_is_dropped() -> None:
    assert reasons(chosen(rows({"benchmark": 2}, {}))) == ["BENCHMARK", "KEPT"]


def test_a_sample_is_of_each_group_and_does_not_look_at_scores() -> None:
    made = rows(*[{"group": f"g{number % 3}", "score": float(number)} for number in range(60)])
    choice = chosen(made, select=Select(sample=5, sample_by="user"))
    kept = made[choice.reason == Reason.KEPT]
    assert [np.count_nonzero(kept["group"] == digest("group", f"g{number}")) for number in range(3)] == [5, 5, 5]
    assert set(kept["score"].tolist()) != set(range(45, 60))
    everything = chosen(rows(*[{} for _ in range(60)]), select=Select(sample=5))
    assert np.count_nonzero(everything.reason == Reason.KEPT) == 5


@pytest.mark.parametrize(
    ("name", "arrange", "reason"),
    [
        ("user", Arrange(per_user_max=2, validation=0, test=0), "USER_CAP"),
        ("template", Arrange(per_template_max=2, validation=0, test=0), "TEMPLATE_CAP"),
        ("label", Arrange(per_label_max=2, validation=0, test=0), "LABEL_CAP"),
    ],
)
def test_a_cap_leaves_the_best_of_each_name_and_all_without(name: str, arrange: Arrange, reason: str) -> None:
    made = rows(*[{name: "x", "score": score} for score in (0.1, 0.9, 0.5, 0.7)], {}, {}, {})
    assert reasons(chosen(made, arrange=arrange)) == [reason, "KEPT", reason, "KEPT", "KEPT", "KEPT", "KEPT"]


def test_a_limit_leaves_the_same_rows_when_rows_are_added_behind_them() -> None:
    made = rows(*[{} for _ in range(50)])
    made = made[np.argsort(made["order"])]
    choice = chosen(made, select=Select(limit=10))
    assert reasons(choice) == ["KEPT"] * 10 + ["OVER_LIMIT"] * 40


def test_what_is_in_test_is_in_no_other_split() -> None:
    users = [f"user-{number}" for number in range(40)]
    made = rows(*[{"user": user, "session": "shared"} for user in users])
    choice = chosen(made, arrange=Arrange(validation=0.3, test=0.2))
    assert set(reasons(choice)) == {"KEPT", "CROSSES_SPLITS"}
    assert set(choice.split[choice.reason == Reason.KEPT].tolist()) == {2}


def test_no_rows_are_no_rows() -> None:
    assert chosen(rows()).reason.tolist() == []


NAME = st.sampled_from(["a", "b", "c", "d"])
FACT = st.fixed_dictionaries(
    {
        "text": NAME,
        "user": NAME,
        "session": NAME,
        "label": NAME,
        "group": NAME,
        "score": st.sampled_from([0.0, 0.5, 1.0, float("nan")]),
        "turns": st.integers(1, 3),
        "benchmark": st.sampled_from([0, 0, 0, 1]),
        "paired": st.sampled_from([0, 0, 1]),
    }
)


@given(st.lists(FACT, max_size=25), st.randoms(use_true_random=False), st.integers(0, 8))
def test_the_choice_does_not_depend_on_the_order_of_the_rows(
    facts: list[dict[str, Any]], random: Any, most: int
) -> None:
    made = rows(*facts)
    shuffled = np.array(random.sample(range(len(facts)), len(facts)), np.int64)
    sections = {
        "select": Select(sample=most, sample_by="user", limit=most * 2),
        "arrange": Arrange(per_user_max=most, per_label_max=most, validation=0.3, test=0.3),
    }
    one, two = chosen(made, made["whole"][:3], **sections), chosen(made[shuffled], made["whole"][:3], **sections)
    assert one.reason[shuffled].tolist() == two.reason.tolist()
    kept = two.reason == Reason.KEPT
    assert one.split[shuffled][kept].tolist() == two.split[kept].tolist()


@given(st.lists(FACT, max_size=25))
def test_every_row_is_written_or_counted(facts: list[dict[str, Any]]) -> None:
    choice = chosen(rows(*facts), arrange=Arrange(per_user_max=2, validation=0.3, test=0.3))
    assert np.count_nonzero(choice.reason == Reason.KEPT) + sum(choice.dropped().values()) == len(facts)
