"""Alpaca: `instruction`, `input`, `output`, `system`, `tools` and `history`, as LLaMA-Factory reads it.

It has no place for calls of tools: examples with any are left out of these files, and of no other. What is in `history`
is learnt too unless the trainer is told otherwise (`mask_history`). Source: LLaMA-Factory's data/README.md, "Alpaca
Format".
"""

from __future__ import annotations

from pathlib import Path

from ..example import Example
from ..options import Split, Write
from .lines import SplitLines, line_of
from .messages import functions, instructions, written
from .turns import CannotSay, turns_of


class Alpaca:
    """`train.alpaca.jsonl` and so on."""

    name = "alpaca"

    def __init__(self, options: Write, folder: Path) -> None:
        self._options = options
        self._lines = SplitLines(folder, after=".alpaca.jsonl")

    def encode(self, example: Example) -> bytes:
        messages = written(example, self._options)
        try:
            turns = turns_of(messages)
            if any(turn.of_tools for turn in turns):
                raise CannotSay("calls of tools")
        except CannotSay:
            return b""
        texts = [turn.text for turn in turns]
        *history, (instruction, output) = zip(texts[::2], texts[1::2], strict=True)
        line = {
            "id": example.request_id,
            "instruction": instruction,
            "input": "",
            "output": output,
            "system": instructions(messages),
            "tools": functions(example) if example.tools else "",
            "history": history,
        }
        return line_of(line)

    def add(self, split: Split, encoded: bytes) -> None:
        self._lines.add(split, encoded)

    def write(self, split: Split, example: Example) -> None:
        if encoded := self.encode(example):
            self.add(split, encoded)

    def close(self) -> list[Path]:
        return self._lines.close()
