"""The questions of a batch, found by `custom_id` when its answers are read: 16 bytes of memory each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..index import digest
from .unpacking import PACKED

_PLACE: Final = np.dtype([("id", "u8"), ("file", "u4"), ("begin", "u8")])

_decode: Final = msgspec.json.Decoder().decode


class BatchInputs:
    """Filled by `add`, then sealed, then asked. Picklable; opens files where it is asked."""

    def __init__(self, paths: dict[str, Path]) -> None:
        """Raises `DatasetError` for a file in which no line can be looked up."""
        for path in paths.values():
            if path.suffix in PACKED:
                raise DatasetError(f"{path} holds the questions of a batch, which are looked up: decompress it first.")
        self._paths = list(paths.values())
        self._numbers = {key: number for number, key in enumerate(paths)}
        self._found: list[tuple[int, int, int]] = []
        self._places: NDArray[Any] = np.zeros(0, _PLACE)

    def add(self, key: str, begin: int, custom_id: str) -> None:
        """A line of an input file, by the byte at which it begins."""
        self._found.append((digest(custom_id), self._numbers[key], begin))

    def seal(self) -> None:
        self._places = np.sort(np.array(self._found, dtype=_PLACE), order="id")
        self._found = []

    def body(self, custom_id: str) -> dict[str, Any] | None:
        """The request that was asked under this id; None when there is none. Raises `OSError`."""
        wanted = np.uint64(digest(custom_id))
        place = int(np.searchsorted(self._places["id"], wanted))
        while place < len(self._places) and self._places["id"][place] == wanted:
            with self._paths[int(self._places["file"][place])].open("rb") as file:
                file.seek(int(self._places["begin"][place]))
                line = _decode(file.readline())
            if line["custom_id"] == custom_id:
                body: dict[str, Any] = line["body"]
                return body
            place += 1
        return None
