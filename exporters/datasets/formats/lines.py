"""JSON lines, a file for each split that has any."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from ..options import Split

_encode: Final = msgspec.json.Encoder().encode


def line_of(value: Any) -> bytes:
    """As JSON, with its end."""
    return _encode(value) + b"\n"


class SplitLines:
    """`{before}{split}{after}` in `folder`."""

    def __init__(self, folder: Path, before: str = "", after: str = ".jsonl") -> None:
        self._folder = folder
        self._before = before
        self._after = after
        self._files: dict[Split, BinaryIO] = {}

    def add(self, split: Split, lines: bytes) -> None:
        """Whole lines, as `line_of` makes them. Raises `OSError`."""
        file = self._files.get(split)
        if file is None:
            file = self._files[split] = self._path(split).open("xb", buffering=1 << 20)
        file.write(lines)

    def close(self) -> list[Path]:
        for file in self._files.values():
            file.close()
        return [self._path(split) for split in self._files]

    def _path(self, split: Split) -> Path:
        return self._folder / f"{self._before}{split}{self._after}"
