"""Datasets of single questions and answers, made for what a measure is to find."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.advising.rows import Row, row_of
from finetune.dataset import Conversation

Talk = tuple[str, str, str]
"""Instructions, question, answer."""


def messages(talk: Talk) -> list[dict[str, Any]]:
    instructions, question, answer = talk
    system = [{"role": "system", "content": instructions}] if instructions else []
    return [*system, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def row(question: str, answer: str, instructions: str = "", line: int = 1) -> Row:
    found = row_of(Conversation(messages=messages((instructions, question, answer))), line)
    assert found is not None
    return found


def rows(*talks: tuple[str, str]) -> list[Row]:
    return [row(question, answer, line=line) for line, (question, answer) in enumerate(talks, 1)]


def write(
    folder: Path,
    train: Sequence[Any],
    validation: Sequence[Any] = (),
    test: Sequence[Any] = (),
    pairs: int = 0,
    **manifest: Any,
) -> Path:
    """A dataset of these talks, or of lines as they are where they are dictionaries."""
    folder.mkdir(parents=True)
    files = []
    for split, lines in (("train", train), ("validation", validation), ("test", test)):
        if lines:
            written = [one if isinstance(one, dict) else {"messages": messages(one)} for one in lines]
            text = "".join(json.dumps(one) + "\n" for one in written)
            (folder / f"{split}.jsonl").write_text(text)
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            files.append({"path": f"{split}.jsonl", "sha256": sha256, "lines": len(lines)})
    if pairs:
        (folder / "preferences.train.jsonl").write_text(pairs * (json.dumps(PAIR) + "\n"))
    whole = {"name": folder.name, "splits": {}, "files": files, **manifest}
    (folder / "manifest.json").write_text(json.dumps(whole))
    return folder


PAIR = {
    "input": {"messages": [{"role": "user", "content": "Where is it?"}]},
    "preferred_output": [{"role": "assistant", "content": "On its way."}],
    "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
}

_WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath"),
    *("inlet", "jetty", "knoll", "lagoon", "marsh", "north", "ocean", "prairie"),
)


def different(count: int) -> list[Talk]:
    """Questions and answers no two of which are near duplicates, and whose answers say nothing new."""
    found = []
    for place in range(count):
        words = [_WORDS[(place >> (4 * digit)) % 16] + "xyz"[digit % 3] * digit for digit in range(3)]
        said = f"{' '.join(words)} {' '.join(reversed(words))}"
        found.append(("", f"Tell of {said}", f"{said} it is."))
    return found


def by_words(text: str) -> int:
    """Tokens for tests: words."""
    return len(text.split())
