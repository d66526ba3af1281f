"""Small datasets that were really built, for tests of what is done with them afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporters.datasets.building.build import build
from exporters.datasets.describing.manifest import Manifest, finish, read
from exporters.datasets.example import Row
from exporters.datasets.options import Arrange, Decontaminate, Deduplicate, Options, Write
from tests.datasets.rows import RowSource

DAY_NS = 86_400 * 10**9
BEGIN_NS = 20_000 * DAY_NS
"""2024-10-04."""


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def row(number: int, *talk: str, **fields: Any) -> Row:
    """A call whose turns are `talk`, the answer last."""
    turns = talk or (f"What is the plan for day {number}?", f"On day {number} we count to {number * 7}.")
    messages = [said("user" if place % 2 == 0 else "assistant", text) for place, text in enumerate(turns)]
    given: dict[str, Any] = {
        "request_id": f"req-{number:04d}",
        "timestamp_ns": BEGIN_NS + number * DAY_NS // 2,
        "model": "gpt-5-mini" if number % 3 else "gpt-5",
        "user": f"user-{number % 10}",
        "prompt_name": "plans" if number % 2 else "",
        "finish_reasons": ["stop"],
        "input_tokens": 10 + number,
        "output_tokens": 5,
        "input_messages": json.dumps(messages[:-1]),
        "output_messages": json.dumps([messages[-1] | {"finish_reason": "stop"}]),
    }
    return Row(**(given | fields))


def options(name: str = "plans", **fields: Any) -> Options:
    """Without near duplicates and evaluation sets, which take a second to load; half of the users are held out."""
    given: dict[str, Any] = {
        "deduplicate": Deduplicate(near=0.0),
        "decontaminate": Decontaminate(benchmarks=()),
        "arrange": Arrange(validation=0.2, test=0.2),
        "write": Write(formats=("openai", "sharegpt", "alpaca", "parquet")),
    }
    return Options(name=name, **(given | fields))


def made(root: Path, rows: list[Row], chosen: Options | None = None) -> tuple[Path, Manifest]:
    """The folder of a dataset made of `rows`, and its manifest."""
    chosen = chosen or options()
    build(chosen, RowSource(rows), root, finish)
    return root / chosen.name, read(root / chosen.name)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
