"""From a line of a dataset's file back to the call that it was made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast

import msgspec

from .describing.contents import origins
from .describing.manifest import Manifest, read
from .errors import DatasetError
from .options import Split
from .provenance import SOURCES, Origin

Key = Literal["line", "preference", "id", "column"]
"""How a line is known: by its number among the examples or the preference pairs of its split, by its `id`, or by its
`request_id` in a table."""

_DIGITS_MAX: Final = 12
_FILES: Final[tuple[tuple[re.Pattern[str], Key], ...]] = (
    (re.compile(r"(train|validation|test)\.jsonl"), "line"),
    (re.compile(r"preferences\.(train|validation|test)\.jsonl"), "preference"),
    (re.compile(r"(train|validation|test)\.(?:sharegpt|alpaca)\.jsonl"), "id"),
    (re.compile(r"(?:preferences\.)?(train|validation|test)\.parquet"), "column"),
)


class Known(NamedTuple):
    split: Split
    key: Key


class Traced(NamedTuple):
    folder: Path
    manifest: Manifest
    origin: Origin


class _Named(msgspec.Struct):
    id: str


def known(name: str) -> Known | None:
    """What the lines of a dataset's file are known by; None for a file that holds no examples."""
    for pattern, key in _FILES:
        if found := pattern.fullmatch(name):
            return Known(cast(Split, found[1]), key)
    return None


def trace(place: str) -> Traced:
    """Of `FILE:LINE`, the file being one of a dataset's, in its folder. Raises `DatasetError`."""
    file, colon, number = place.rpartition(":")
    if not colon or not number.isdecimal() or len(number) > _DIGITS_MAX or int(number) < 1:
        raise DatasetError(f"{place!r} is not FILE:LINE, such as penstock-datasets/support-v1/train.jsonl:17.")
    path, line = Path(file), int(number)
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    how = known(path.name)
    if how is None and path.name != SOURCES:
        raise DatasetError(f"{path.name} is not a dataset's file of examples.")
    manifest = read(path.parent)
    wanted = _request_id(path, line, how.key) if how and how.key in ("id", "column") else ""
    for place_in_sources, origin in enumerate(origins(path.parent), 1):
        if how is None:
            found = place_in_sources == line
        elif wanted:
            found = origin.request_id == wanted
        else:
            found = origin.split == how.split and line == (origin.line if how.key == "line" else origin.preference)
        if found:
            return Traced(path.parent, manifest, origin)
    raise DatasetError(f"{path} has no example in line {line}.")


def _request_id(path: Path, line: int, key: Key) -> str:
    if key == "column":
        return _of_table(path, line)
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if number == line:
                try:
                    return msgspec.json.decode(text, type=_Named).id
                except msgspec.DecodeError as error:
                    raise DatasetError(f"{path}, line {line}: it has no id.") from error
    raise DatasetError(f"{path} has no line {line}.")


def _of_table(path: Path, row: int) -> str:
    from pyarrow import parquet  # with it comes Arrow

    with parquet.ParquetFile(path) as table:
        if row > table.metadata.num_rows:
            raise DatasetError(f"{path} has no row {row}.")
        before = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if row <= before + rows:
                return str(table.read_row_group(group, columns=["request_id"])["request_id"][row - before - 1].as_py())
            before += rows
    raise DatasetError(f"{path} has no row {row}.")
