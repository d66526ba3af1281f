"""OpenAI's format for direct preference optimisation, for the examples whose answer somebody corrected.

`{"input": {"messages", "tools", "parallel_tool_calls"}, "preferred_output", "non_preferred_output"}` a line. Source:
OpenAI's guide "Direct preference optimization", which takes one message of the assistant for each output.
"""

from __future__ import annotations

from pathlib import Path

from ..example import Example, Message
from ..options import Split, Write
from .lines import SplitLines, line_of
from .messages import plain, unweighted, written
from .openai import with_tools


class Preferences:
    """`preferences.train.jsonl` and so on; none where nothing was corrected."""

    name = "preferences"

    def __init__(self, options: Write, folder: Path) -> None:
        self._options = options
        self._lines = SplitLines(folder, "preferences.")

    def encode(self, example: Example) -> bytes:
        if not example.rejected:
            return b""
        asked, preferred, rejected = pair(example, self._options)
        return line_of(
            {
                "input": with_tools({"messages": asked}, example),
                "preferred_output": [preferred],
                "non_preferred_output": [rejected],
            }
        )

    def add(self, split: Split, encoded: bytes) -> None:
        self._lines.add(split, encoded)

    def write(self, split: Split, example: Example) -> None:
        if encoded := self.encode(example):
            self.add(split, encoded)

    def close(self) -> list[Path]:
        return self._lines.close()


def pair(example: Example, options: Write) -> tuple[list[Message], Message, Message]:
    """What was asked, the answer that should have been, and the one that was. Weights say nothing here."""
    *asked, preferred = unweighted(written(example, options))
    return asked, preferred, plain(example.rejected[-1])
