"""A dataset to train on, as `penstock dataset build` leaves one, small and made up on the spot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]

_THINGS = ("parcel", "password", "invoice", "lamp", "order", "refund", "chair", "ticket", "phone", "key")


def talk(number: int) -> Line:
    """One question and its answer, always in the same manner."""
    thing = _THINGS[number % len(_THINGS)]
    return {
        "messages": [
            {"role": "system", "content": "Answer as a pirate."},
            {"role": "user", "content": f"Where is my {thing} number {number}?"},
            {"role": "assistant", "content": f"Arr, the {thing} {number} be in the hold!"},
        ]
    }


def preference(number: int) -> Line:
    """The same question with a better and a worse answer."""
    *asked, answer = talk(number)["messages"]
    return {
        "input": {"messages": asked},
        "preferred_output": [answer],
        "non_preferred_output": [{"role": "assistant", "content": "I do not know."}],
    }


def write(
    folder: Path,
    splits: Mapping[str, Sequence[Line]],
    *,
    preferences: Mapping[str, Sequence[Line]] | None = None,
    mask: str = "assistant",
) -> Path:
    """The folder, with a manifest that names every file and its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    files, counts = [], {}
    named = [(f"{split}.jsonl", lines) for split, lines in splits.items()]
    named += [(f"preferences.{split}.jsonl", lines) for split, lines in (preferences or {}).items()]
    for name, lines in named:
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        (folder / name).write_bytes(data)
        files.append({"path": name, "sha256": hashlib.sha256(data).hexdigest(), "lines": len(lines)})
    for split in ("train", "validation", "test"):
        counts[split] = {
            "examples": len(splits.get(split, ())),
            "preferences": len((preferences or {}).get(split, ())),
            "tokens": 0,
        }
    manifest = {"name": folder.name, "splits": counts, "files": files, "options": {"write": {"mask": mask}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def small(folder: Path, train: int = 24, validation: int = 8) -> Path:
    """Some conversations and as many preferences, in three splits."""
    bounds = {
        "train": (0, train),
        "validation": (train, train + validation),
        "test": (train + validation, train + 2 * validation),
    }
    return write(
        folder,
        {split: [talk(n) for n in range(*span)] for split, span in bounds.items()},
        preferences={split: [preference(n) for n in range(*span)] for split, span in bounds.items()},
    )
