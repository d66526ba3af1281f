"""Examples and datasets for tests of evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.dataset import Dataset
from finetune.evaluation.asking import Answer
from finetune.evaluation.examples import Example


def call(name: str, arguments: Any, call_id: str = "c") -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def example(reference: str | Sequence[dict[str, Any]] = "yes", number: int = 1, **more: Any) -> Example:
    """`reference`: what is said, or the calls that are made."""
    answer: dict[str, Any] = {"role": "assistant", "content": reference}
    if not isinstance(reference, str):
        answer = {"role": "assistant", "content": None, "tool_calls": list(reference)}
    asked = [{"role": "user", "content": f"question {number}"}]
    return Example(id=f"test:{number}", messages=asked, reference=answer, **more)


def answer(text: str = "", *calls: dict[str, Any], **more: Any) -> Answer:
    return Answer(text=text, tool_calls=list(calls), **more)


def dataset(folder: Path, lines: Sequence[dict[str, Any]], sources: Sequence[dict[str, Any]] = ()) -> Dataset:
    """A folder with `lines` as its test split."""
    folder.mkdir(parents=True)
    data = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "test.jsonl").write_text(data)
    if sources:
        (folder / "sources.jsonl").write_text("".join(json.dumps(line) + "\n" for line in sources))
    named = {"path": "test.jsonl", "sha256": hashlib.sha256(data.encode()).hexdigest(), "lines": len(lines)}
    manifest = {"name": folder.name, "splits": {"test": {"examples": len(lines)}}, "files": [named]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Dataset.open(folder)


def line(number: int, reference: str, **more: Any) -> dict[str, Any]:
    asked = [{"role": "system", "content": "Answer."}, {"role": "user", "content": f"question {number}"}]
    return {"messages": [*asked, {"role": "assistant", "content": reference, "weight": 1}], **more}
