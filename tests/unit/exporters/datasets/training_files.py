"""Lines of training files, right ones and others, and what is found in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporters.datasets.validating.validate import Report, validate

from .formats.conversations import assistant, user

Line = dict[str, Any]
PNG = "data:image/png;base64,aGk="


def sft(*messages: Any, **fields: Any) -> Line:
    return {"messages": list(messages), **fields}


def dpo(*asked: Any, preferred: Any = None, rejected: Any = None, **fields: Any) -> Line:
    outputs = {
        "preferred_output": [preferred or assistant("Yes.")],
        "non_preferred_output": [rejected or assistant("No.")],
    }
    return {"input": {"messages": list(asked)}, **outputs, **fields}


def good(number: int) -> Line:
    return sft(user(f"What is {number}?"), assistant(f"It is {number}."))


def good_pair(number: int) -> Line:
    return dpo(user(f"What is {number}?"))


def report(tmp_path: Path, *lines: Line | bytes, **arguments: Any) -> Report:
    path = tmp_path / "train.jsonl"
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return validate(path, **arguments)


def padded(tmp_path: Path, line: Line | bytes, filler: Any = good, **arguments: Any) -> list[tuple[str, str]]:
    """What is found in a line, the eleventh of otherwise right ones: rules and places."""
    found = report(tmp_path, *(filler(number) for number in range(10)), line, **arguments)
    assert {finding.line for finding in found.findings} <= {11}
    return [(finding.rule, finding.where) for finding in found.findings]


def image(url: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
