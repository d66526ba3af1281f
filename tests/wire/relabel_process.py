"""A relabelling that `test_relabel.py` kills; run with `python -m`: the folder, the address, how many at a time."""

from __future__ import annotations

import sys
from pathlib import Path

from exporters.datasets.changing.asking import Asker, Waiting
from exporters.datasets.changing.questioning import Task
from exporters.datasets.changing.relabeling import Result, relabel
from exporters.datasets.progress import Silent

MODEL = "strong-1"


def price(input_tokens: int, output_tokens: int) -> float | None:
    return input_tokens * 0.001 + output_tokens * 0.01


def task(folder: Path, **changes: object) -> Task:
    given: dict[str, object] = {"folder": folder, "root": folder.parent, "name": "new", "model": MODEL, "price": price}
    return Task(**(given | changes))  # type: ignore[arg-type]


def ask(asked: Task, url: str, concurrency: int = 4, waiting: Waiting = "off") -> Result:
    made = lambda: Asker(url, "key", dataset=asked.folder.name, waiting=waiting, poll_s=0.01)  # noqa: E731
    return relabel(asked, made, concurrency, Silent())


if __name__ == "__main__":
    ask(task(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
