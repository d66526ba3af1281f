"""Vectors are found, shared between workers, bounded, and outlive the process; a broken file costs only itself."""

from __future__ import annotations

import sqlite3
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.embedding import Vector, normalised
from cache.faults import Pause
from cache.guard import Marks, marks_of
from cache.vectors import FOUND_MAX, Vectors

MEMORY = 1024 * 1024
PART = b"partition"


def vector(*numbers: float) -> Vector:
    return normalised(np.asarray(numbers, dtype=np.float32))


def marks(text: str = "") -> Marks:
    return marks_of(text)


def make(
    path: Path | None, rows_max: int = 1000, memory_bytes_max: int = MEMORY, pause: Pause | None = None
) -> Vectors:
    return Vectors(path, rows_max=rows_max, memory_bytes_max=memory_bytes_max, pause=pause)


@pytest.fixture(params=["file", "memory"])
def vectors(request: pytest.FixtureRequest, tmp_path: Path) -> Vectors:
    return make(tmp_path / "v.db" if request.param == "file" else None)


def keys(vectors: Vectors, of: Vector, threshold: float = 0.0, partition: bytes = PART) -> list[str]:
    return [key for key, _ in vectors.search(partition, of, marks(), threshold)]


def test_the_most_alike_come_first_and_only_those_over_the_threshold(vectors: Vectors) -> None:
    for key, angle in (("far", 1.2), ("near", 0.1), ("same", 0.0), ("nearer", 0.05), ("middle", 0.4)):
        vectors.put(PART, key, vector(np.cos(angle), np.sin(angle)), marks())
    found = vectors.search(PART, vector(1, 0), marks(), 0.9)
    assert [key for key, _ in found] == ["same", "nearer", "near"]
    assert found[0][1] == pytest.approx(1.0, abs=1e-3)
    assert found[2][1] == pytest.approx(np.cos(0.1), abs=1e-3)
    assert keys(vectors, vector(1, 0), 0.999) == ["same"]
    assert len(keys(vectors, vector(1, 0))) == FOUND_MAX


def test_partitions_do_not_see_each_other(vectors: Vectors) -> None:
    vectors.put(b"one", "k", vector(1, 0), marks())
    assert keys(vectors, vector(1, 0), partition=b"other") == []
    assert keys(vectors, vector(1, 0), partition=b"one") == ["k"]


def test_the_same_words_in_another_order_are_passed_over(vectors: Vectors) -> None:
    vectors.put(PART, "k1", vector(1, 0), marks("dog bites man"))
    vectors.put(PART, "k2", vector(1, 0.1), marks("a dog bites a man"))
    assert [key for key, _ in vectors.search(PART, vector(1, 0), marks("man bites dog"), 0.5)] == ["k2"]


def test_a_key_is_kept_once_with_its_newest_vector(vectors: Vectors) -> None:
    for _ in range(3):
        vectors.put(PART, "k", vector(1, 0), marks())
        assert keys(vectors, vector(1, 0)) == ["k"]
    vectors.put(PART, "k", vector(0, 1), marks())
    assert keys(vectors, vector(1, 0), 0.5) == []
    assert keys(vectors, vector(0, 1), 0.5) == ["k"]


def test_what_is_dropped_is_not_found(vectors: Vectors) -> None:
    for number in range(10):
        vectors.put(PART, f"k{number}", vector(1, number), marks())
    assert keys(vectors, vector(1, 3), 0.9999) == ["k3"]
    vectors.drop("k3")
    vectors.drop("never there")
    for number in range(10):
        assert (f"k{number}" in keys(vectors, vector(1, number), 0.9)) is (number != 3)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.integers(0, 359)), max_size=40))
def test_it_holds_what_a_list_would(steps: list[tuple[bool, int, int]]) -> None:
    vectors = make(None)
    expected: dict[str, Vector] = {}
    for put, number, degrees in steps:
        if put:
            expected[f"k{number}"] = vector(np.cos(np.radians(degrees)), np.sin(np.radians(degrees)))
            vectors.put(PART, f"k{number}", expected[f"k{number}"], marks())
        else:
            expected.pop(f"k{number}", None)
            vectors.drop(f"k{number}")
    for key, at in expected.items():
        alike = sorted((float(other @ at) for other in expected.values()), reverse=True)[:FOUND_MAX]
        found = vectors.search(PART, at, marks(), -1)
        assert [likeness for _, likeness in found] == pytest.approx(alike, abs=1e-5)
        assert all(float(expected[name] @ at) == pytest.approx(likeness, abs=1e-5) for name, likeness in found)
        assert key in expected


def test_they_are_there_again_after_a_restart(tmp_path: Path) -> None:
    before = make(tmp_path / "v.db")
    before.put(PART, "k", vector(1, 2, 3), marks())
    before.close()
    before.close()
    assert keys(make(tmp_path / "v.db"), vector(1, 2, 3), 0.99) == ["k"]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    vectors = make(tmp_path / "folder" / "v.db")
    vectors.put(PART, "k", vector(1, 0), marks())
    for file in (tmp_path / "folder").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_workers_find_what_others_add(tmp_path: Path) -> None:
    one, other = make(tmp_path / "v.db"), make(tmp_path / "v.db")
    one.put(PART, "k1", vector(1, 0), marks())
    assert keys(other, vector(1, 0), 0.9) == ["k1"]
    other.put(PART, "k2", vector(0, 1), marks())
    one.put(PART, "k3", vector(1, 1), marks())
    assert keys(one, vector(0, 1), 0.9) == ["k2"]
    assert keys(other, vector(1, 1), 0.99) == ["k3"]
    for number in range(5):
        one.put(PART, f"n{number}", vector(-1, number), marks())
        assert keys(other, vector(-1, number), 0.9)[0] == f"n{number}"


def test_the_file_is_bounded_and_the_oldest_leave_it(tmp_path: Path) -> None:
    vectors = make(tmp_path / "v.db", rows_max=10)
    for number in range(100):
        vectors.put(b"p%d" % number, f"k{number}", vector(1, 0), marks())
    with sqlite3.connect(tmp_path / "v.db") as file:
        kept = [key for (key,) in file.execute("SELECT key FROM vectors ORDER BY id")]
    file.close()
    assert len(kept) <= 20
    assert kept[-1] == "k99"


def test_the_memory_is_bounded(tmp_path: Path) -> None:
    wide = 256
    vectors = make(tmp_path / "v.db", memory_bytes_max=64 * 1024)
    for partition in range(8):
        for number in range(60):
            at = np.zeros(wide, dtype=np.float32)
            at[number] = 1
            vectors.put(b"p%d" % partition, f"k{partition}-{number}", at, marks())
            vectors.search(b"p%d" % partition, at, marks(), 0.9)
    assert sum(held.size for held in vectors._partitions.values()) <= 64 * 1024
    newest = np.zeros(wide, dtype=np.float32)
    newest[59] = 1
    assert keys(vectors, newest, 0.9, b"p7") == ["k7-59"]


def test_a_file_that_is_no_database_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "v.db"
    path.write_bytes(b"this is no database at all " * 100)
    vectors = make(path)
    vectors.put(PART, "k1", vector(1, 0), marks())
    assert vectors.failed == 1
    fresh = make(path)
    fresh.put(PART, "k2", vector(0, 1), marks())
    assert keys(fresh, vector(0, 1), 0.9) == ["k2"]


@pytest.mark.parametrize("passes_s", [0.0, 60.0], ids=["while it pauses", "when it tries again"])
def test_without_its_file_it_remembers_what_it_was_told(tmp_path: Path, passes_s: float) -> None:
    """`passes_s`: between any two looks at the clock."""
    (tmp_path / "v.db").mkdir()
    vectors = make(tmp_path / "v.db", pause=Pause(count(0.0, passes_s).__next__))
    vectors.search(PART, vector(1, 0), marks(), 0.9)
    assert vectors.failed == 1
    vectors.put(PART, "k", vector(1, 0), marks())
    assert keys(vectors, vector(1, 0), 0.9) == ["k"]


def test_rows_of_another_length_are_passed_over(tmp_path: Path) -> None:
    one = make(tmp_path / "v.db")
    one.put(PART, "short", vector(1, 0), marks())
    other = make(tmp_path / "v.db")
    other.put(PART, "long", vector(1, 0, 0), marks())
    assert keys(other, vector(1, 0, 0), 0.9) == ["long"]
