"""Splits do not leak, and stay as they are when data is added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporters.datasets.building.splitting import SPLITS, assign, crossing
from exporters.datasets.index import ROW, digest
from exporters.datasets.options import Arrange

THIRDS = Arrange(validation=1 / 3, test=1 / 3)


def rows(*facts: dict[str, Any]) -> NDArray[Any]:
    found = np.zeros(len(facts), ROW)
    for number, fact in enumerate(facts):
        found[number]["root"] = digest("root", str(number))
        for name, value in fact.items():
            found[number][name] = digest(name, value) if isinstance(value, str) else value
    return found


NAMES = st.sampled_from(["", "a", "b", "c", "d"])
FACTS = st.lists(
    st.builds(
        lambda user, session, root: {
            **({"user": user} if user else {}),
            **({"session": session} if session else {}),
            "root": root,
        },
        NAMES,
        NAMES,
        st.text(max_size=2),
    ),
    max_size=30,
)


@given(FACTS, FACTS)
def test_added_rows_move_none(before: list[dict[str, Any]], added: list[dict[str, Any]]) -> None:
    first, grown = assign(rows(*before), THIRDS), assign(rows(*before, *added), THIRDS)
    assert grown[: len(first)].tolist() == first.tolist()


@given(FACTS)
def test_a_user_is_in_one_split(facts: list[dict[str, Any]]) -> None:
    made = rows(*facts)
    split = assign(made, THIRDS)
    for user in set(made["user"].tolist()) - {0}:
        assert len(set(split[made["user"] == user].tolist())) == 1


@given(FACTS, st.lists(st.integers(0, 29), max_size=30))
def test_no_session_and_no_cluster_is_in_two_splits(facts: list[dict[str, Any]], names: list[int]) -> None:
    made = rows(*facts)
    cluster = np.array([name % max(1, len(facts)) for name in (*names, *range(30))][: len(facts)], np.int64)
    split = assign(made, THIRDS)
    left = ~crossing(made, split, cluster)
    assert left[split == 2].all(), "nothing of test is dropped"
    for one, other in ((0, 1), (0, 2), (1, 2)):
        here, there = (split == one) & left, (split == other) & left
        assert set(made["session"][here].tolist()) & set(made["session"][there].tolist()) <= {0}
        assert not set(cluster[here].tolist()) & set(cluster[there].tolist())


def test_shares_are_about_what_was_asked_for() -> None:
    made = rows(*[{"user": f"user-{number}"} for number in range(5000)])
    split = assign(made, Arrange(validation=0.1, test=0.2))
    shares = [(split == number).mean() for number in range(len(SPLITS))]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_none_is_held_out_when_none_is_asked_for() -> None:
    made = rows(*[{"user": f"user-{number}"} for number in range(500)])
    assert not assign(made, Arrange(validation=0, test=0)).any()


def test_another_salt_deals_anew() -> None:
    made = rows(*[{"user": f"user-{number}"} for number in range(500)])
    assert (assign(made, THIRDS) != assign(made, Arrange(validation=1 / 3, test=1 / 3, salt="2"))).any()


def test_a_split_is_the_same_in_every_version() -> None:
    made = rows(*[{"user": f"user-{number}"} for number in range(12)])
    assert assign(made, THIRDS).tolist() == GOLDEN


def test_by_time_the_newest_are_held_out() -> None:
    made = rows(*[{"timestamp_ns": number} for number in (5, 3, 9, 1, 7, 8, 2, 6, 4, 10)])
    split = assign(made, Arrange(by="time", validation=0.2, test=0.1))
    assert [SPLITS[number] for number in split[np.argsort(made["timestamp_ns"])]] == (
        ["train"] * 7 + ["validation"] * 2 + ["test"]
    )


def test_by_time_rows_of_one_moment_stay_together() -> None:
    made = rows(*[{"timestamp_ns": 1}, {"timestamp_ns": 2}, {"timestamp_ns": 2}, {"timestamp_ns": 2}])
    assert assign(made, Arrange(by="time", validation=0, test=0.25)).tolist() == [0, 2, 2, 2]


GOLDEN = [1, 0, 2, 2, 2, 2, 0, 0, 0, 2, 1, 0]
