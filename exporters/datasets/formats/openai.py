"""OpenAI's format for supervised fine-tuning: `{"messages", "tools", "parallel_tool_calls"}` a line.

What only OpenAI's format knows is `weight`, see `messages.written`. It learns answers alone: the mask "all" is for
trainers of one's own. Source: OpenAI's guide "Supervised fine-tuning" and its API reference, "chat format".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..example import Example
from ..options import Split, Write
from .lines import SplitLines, line_of
from .messages import written


class OpenAI:
    """`train.jsonl`, `validation.jsonl`, `test.jsonl`. Every example has its line."""

    name = "openai"

    def __init__(self, options: Write, folder: Path) -> None:
        self._options = options
        self._lines = SplitLines(folder)

    def encode(self, example: Example) -> bytes:
        line: dict[str, Any] = {"messages": written(example, self._options)}
        return line_of(with_tools(line, example))

    def add(self, split: Split, encoded: bytes) -> None:
        self._lines.add(split, encoded)

    def write(self, split: Split, example: Example) -> None:
        self.add(split, self.encode(example))

    def close(self) -> list[Path]:
        return self._lines.close()


def with_tools(line: dict[str, Any], example: Example) -> dict[str, Any]:
    """`line` with the tools that the model could call, where there were any."""
    if example.tools:
        line["tools"] = example.tools
        if example.parallel_tool_calls is not None:
            line["parallel_tool_calls"] = example.parallel_tool_calls
    return line
