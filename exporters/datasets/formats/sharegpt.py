"""ShareGPT, as LLaMA-Factory and axolotl read it: `conversations` of `from` and `value`, with `system` and `tools`.

Tool calls are turns of `function_call`, their results of `observation`. With the mask "last", earlier answers have
`"train": false`, axolotl's `message_field_training`; LLaMA-Factory has `mask_history` for it. Examples that the format
cannot say (images, words beside a call, ...) are left out of these files and of no other: nothing is put into other
words. Source: LLaMA-Factory's data/README.md, "Sharegpt Format", and its converter, which skips what is not by turns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ..example import Example
from ..options import Split, Write
from .lines import SplitLines, line_of
from .messages import functions, instructions, written
from .turns import CannotSay, Turn, turns_of

_FROM: Final = {
    (True, False): "human",
    (True, True): "observation",
    (False, False): "gpt",
    (False, True): "function_call",
}


class ShareGPT:
    """`train.sharegpt.jsonl` and so on."""

    name = "sharegpt"

    def __init__(self, options: Write, folder: Path) -> None:
        self._options = options
        self._lines = SplitLines(folder, after=".sharegpt.jsonl")

    def encode(self, example: Example) -> bytes:
        messages = written(example, self._options)
        try:
            turns = turns_of(messages)
        except CannotSay:
            return b""
        line = {
            "id": example.request_id,
            "conversations": [_said(turn) for turn in turns],
            # Always there: a reader of JSON lines takes its columns from the first ones.
            "system": instructions(messages),
            "tools": functions(example) if example.tools else "",
        }
        return line_of(line)

    def add(self, split: Split, encoded: bytes) -> None:
        self._lines.add(split, encoded)

    def write(self, split: Split, example: Example) -> None:
        if encoded := self.encode(example):
            self.add(split, encoded)

    def close(self) -> list[Path]:
        return self._lines.close()


def _said(turn: Turn) -> dict[str, Any]:
    said: dict[str, Any] = {"from": _FROM[turn.asks, turn.of_tools], "value": turn.text}
    if not turn.weight:
        said["train"] = False
    return said
