"""What overlaps an evaluation set is found wherever it stands; what only resembles it is not."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.comparing.contamination import BUNDLED, SETS_MAX, Benchmarks
from exporters.datasets.comparing.fingerprints import spoken
from exporters.datasets.comparing.stretches import COMMON_ITEMS, LETTERS_MIN, made_of, packed, unpacked
from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Example
from exporters.datasets.options import Decontaminate

HELD_OUT = (
    "A ferry leaves the northern pier every forty minutes and needs twenty-five minutes to cross the sound when the"
    " tide is with it. How many crossings can a single crew make before noon?"
)
LEAKED_CODE = '''def has_close_elements(numbers: List[float], threshold: float) -> bool:
    """ Check if in given list of numbers, are any two numbers closer to each other than
    given threshold.'''
SOLUTION = """    for idx, elem in enumerate(numbers):
        for idx2, elem2 in enumerate(numbers):
            if idx != idx2:
                distance = abs(elem - elem2)"""
LEAKED_QUESTION = "Which of the following is the body cavity that contains the pituitary gland?"


def chat(question: str, answer: str = "Nine.", **fields: Any) -> Example:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Example(request_id="r", timestamp_ns=1, messages=messages, **fields)


def overlap(sets: Benchmarks, example: Example) -> int:
    return sets.overlaps([spoken(example.messages)])[0]


@pytest.fixture(scope="module")
def bundled() -> Benchmarks:
    return Benchmarks.load(Decontaminate())


@pytest.fixture(scope="module")
def own() -> Benchmarks:
    return Benchmarks([("own", made_of([[HELD_OUT]])[0])])


@pytest.mark.parametrize(
    "shown",
    [
        HELD_OUT,
        HELD_OUT.upper(),
        re.sub(" ", "\n    ", HELD_OUT),
        re.sub(r"[^\w\s]", " ", HELD_OUT),
        f"{'Something else first. ' * 50}{HELD_OUT}{' And after it.' * 50}",
        " ".join(HELD_OUT.split()[: len(HELD_OUT.split()) // 2]),
        " ".join(HELD_OUT.split()[10:23]),
        HELD_OUT.replace("twenty-five", "\u201ctwenty\u2013five\u201d"),
    ],
)
def test_a_leak_is_found_however_it_is_shown(own: Benchmarks, shown: str) -> None:
    assert overlap(own, chat(shown)) == 1
    assert overlap(own, chat("Tell me a riddle.", f"Here is one: {shown}")) == 1


@pytest.mark.parametrize(
    "clean",
    [
        "",
        "A ferry leaves the pier at noon. When is it back?",
        "How many crossings can two crews make between noon and midnight, if the ferry needs half an hour for each?",
        " ".join(reversed(HELD_OUT.split())),
        " ".join(word for pair in zip(HELD_OUT.split(), ["and"] * 40, strict=False) for word in pair),
    ],
)
def test_what_only_resembles_it_is_not(own: Benchmarks, clean: str) -> None:
    assert overlap(own, chat(clean)) == 0


ALPHABET = st.text("abcdefghijklmnopqrstuvwxyz0123456789 .,", max_size=90)


@given(ALPHABET, ALPHABET, st.integers(0, 80), st.integers(LETTERS_MIN - 1, LETTERS_MIN + 1))
def test_forty_letters_are_found_wherever_they_stand_and_fewer_never(
    before: str, behind: str, begin: int, length: int
) -> None:
    dice = random.Random(7)
    # Letters of its own, so that what stands around cannot lengthen the overlap.
    item = "".join(dice.choice("\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0437") for _ in range(200))
    found = overlap(Benchmarks([("own", made_of([[item]])[0])]), chat(before + item[begin : begin + length] + behind))
    assert found == (length >= LETTERS_MIN)


@given(st.lists(st.tuples(ALPHABET, st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_a_row_is_told_of_its_own_text_whatever_is_looked_up_with_it(made: list[tuple[str, int, int]]) -> None:
    sets = Benchmarks([("own", made_of([[HELD_OUT]])[0]), ("half", made_of([[HELD_OUT[80:]]])[0])])
    texts = [before + HELD_OUT[begin : begin + length] + "q" for before, begin, length in made]
    assert sets.overlaps(texts) == [sets.overlaps([text])[0] for text in texts]


def test_an_overlap_lies_within_one_row(own: Benchmarks) -> None:
    half = HELD_OUT.index("twenty")
    for space in range(20):
        assert own.overlaps([HELD_OUT[half - 30 : half], HELD_OUT[half : half + 30], "x" * space]) == [0, 0, 0]


def test_an_overlap_lies_within_one_message(own: Benchmarks) -> None:
    half = len(HELD_OUT) // 8
    assert overlap(own, chat(HELD_OUT[:half], HELD_OUT[half : 2 * half])) == 0


def test_the_first_set_that_is_overlapped_is_named(bundled: Benchmarks) -> None:
    assert bundled.names == ("humaneval", "mmlu")
    assert overlap(bundled, chat(LEAKED_CODE)) == 1
    assert overlap(bundled, chat("Compare all with all.", SOLUTION)) == 1
    assert overlap(bundled, chat(LEAKED_QUESTION)) == 2
    assert overlap(bundled, chat(f"{LEAKED_QUESTION} {LEAKED_CODE}")) == 1


def test_calls_of_tools_and_parts_are_looked_at(bundled: Benchmarks) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "ask", "arguments": f'{{"q": "{LEAKED_QUESTION}"}}'}}
    asked = chat("Ask them.")
    asked.messages[-1] = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert overlap(bundled, asked) == 2
    asked.messages = [{"role": "user", "content": [{"type": "text", "text": LEAKED_QUESTION}]}]
    assert overlap(bundled, asked) == 2


CLEAN_QUESTIONS = [
    "Write a Python function that checks whether a number is prime, with type hints and a docstring.",
    "Which of the following is true of the two plans below? Answer with one letter. (A) both (B) the first (C) none",
    "The following are multiple choice questions (with answers) about our products. Answer them one by one.",
    "from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)\n\nWhy is it slow?",
    "Sort a list of strings by length, then by name, in a single line of Python, and say how it works.",
    "Let's think step by step. A train travels 60 miles in 1.5 hours. What is its average speed?",
]
CLEAN_ANSWERS = [
    "def is_prime(n: int) -> bool:\n    if n < 2:\n        return False\n    for i in range(2, int(n ** 0.5) + 1):\n"
    "        if n % i == 0:\n            return False\n    return True",
    "def gcd(a: int, b: int) -> int:\n    while b:\n        a, b = b, a % b\n    return a",
    "def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
    "def is_palindrome(text: str) -> bool:\n    return text == text[::-1]",
    "for i in range(len(numbers)):\n    for j in range(i + 1, len(numbers)):\n        if numbers[i] > numbers[j]:\n"
    "            numbers[i], numbers[j] = numbers[j], numbers[i]",
    "counts = {}\nfor word in text.split():\n    counts[word] = counts.get(word, 0) + 1\nreturn counts",
]


@pytest.mark.parametrize("answer", CLEAN_ANSWERS)
def test_ordinary_questions_and_code_are_clean(bundled: Benchmarks, answer: str) -> None:
    for question in CLEAN_QUESTIONS:
        assert overlap(bundled, chat(question, f"```python\n{answer}\n```")) == 0


def test_the_code_of_this_project_is_clean(bundled: Benchmarks) -> None:
    """About a million letters of Python and English that nobody took from a benchmark."""
    root = Path(__file__).parents[5]
    texts = [path.read_text() for folder in ("proxy", "cache", "exporters") for path in (root / folder).rglob("*.py")]
    rows = [text[at : at + 1500] for text in texts for at in range(0, len(text), 1500)]
    assert len(rows) > 500
    assert [row[:40] for row in rows if overlap(bundled, chat("What does it do?", row))] == []


def test_what_many_items_share_says_nothing() -> None:
    template = "Answer the question of our customer in a single polite sentence, and in their own language: "
    own = [[f"{template}what is the use of item number {number} when it rains on day {number}?"] for number in range(9)]
    stretches, items = made_of(own)
    assert items == 9
    assert overlap(Benchmarks([("own", stretches)]), chat(f"{template}where is my parcel?")) == 0
    few = made_of(own[:COMMON_ITEMS])[0]
    assert overlap(Benchmarks([("own", few)]), chat(f"{template}where is my parcel?")) == 1


def test_an_item_that_is_there_many_times_is_one() -> None:
    stretches, items = made_of([[HELD_OUT], [HELD_OUT.upper()], [HELD_OUT + "!"], [HELD_OUT]])
    assert items == 1
    assert overlap(Benchmarks([("own", stretches)]), chat(HELD_OUT)) == 1


def test_nothing_is_compared_with_nothing() -> None:
    none = Benchmarks.load(Decontaminate(benchmarks=()))
    assert none.names == ()
    assert overlap(none, chat(HELD_OUT)) == 0
    assert made_of([["short"], []])[1] == 0


def test_stretches_are_packed_without_loss() -> None:
    values = np.unique(np.random.default_rng(1).integers(0, 2**32, 5000, dtype=np.uint32))
    assert np.array_equal(unpacked(packed(values)), values)
    assert len(unpacked(packed(values[:0]))) == 0


def test_an_unknown_benchmark_is_named_with_those_there_are() -> None:
    with pytest.raises(DatasetError, match=f"no benchmark 'gsm8k'.*{', '.join(BUNDLED)}"):
        Benchmarks.load(Decontaminate(benchmarks=("gsm8k",)))


def test_more_sets_than_the_index_has_numbers_for_are_refused() -> None:
    known = made_of([[HELD_OUT]])[0]
    assert overlap(Benchmarks([("own", known)] * SETS_MAX), chat(HELD_OUT)) == 1
    with pytest.raises(DatasetError, match="too many"):
        Benchmarks([("own", known)] * (SETS_MAX + 1))


def test_files_come_after_benchmarks(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(f"{HELD_OUT}\n\nShort.\n")
    both = Benchmarks.load(Decontaminate(files=(str(path),)))
    assert both.names == ("humaneval", "mmlu", str(path))
    assert overlap(both, chat(HELD_OUT)) == 3


def test_a_file_without_anything_to_overlap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Too short.\n")
    with pytest.raises(DatasetError, match="40 letters"):
        Benchmarks.load(Decontaminate(files=(str(path),)))
