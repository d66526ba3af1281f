"""What one evaluates on oneself, read from a file: the items that no training row may overlap."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import DatasetError

BYTES_MAX: Final = 256 << 20
"""Of a file, unpacked."""
_NOT_SAID: Final = frozenset({"role", "from", "id", "task_id", "request_id", "timestamp", "model", "type", "name"})
"""Fields that say something about an item, or who speaks, and are no part of what is said."""
_INSTRUCTIONS: Final = frozenset({"system", "developer"})
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_DEPTH_MAX: Final = 32


def items(path: str) -> Iterator[list[str]]:
    """The texts of each item. Raises `DatasetError`.

    `.jsonl`, `.ndjson`: an item in each line, of any shape: what its strings say, one after the other, but for system
    prompts and names. `.json`: a list of such. `.csv`, `.tsv`: an item in each row. Anything else is text, with items
    between empty lines. `.gz` behind any of these.
    """
    name = Path(path).name.lower().removesuffix(".gz")
    text = _text(path)
    if name.endswith((".jsonl", ".ndjson")):
        return _lines(path, text)
    if name.endswith(".json"):
        return _list(path, text)
    if name.endswith((".csv", ".tsv")):
        rows = csv.reader(io.StringIO(text, newline=""), "excel-tab" if name.endswith(".tsv") else "excel")
        return _rows(path, rows)
    return ([paragraph] for paragraph in _PARAGRAPH.split(text))


def _text(path: str) -> str:
    try:
        with gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb") as file:
            data = file.read(BYTES_MAX + 1)
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(data) > BYTES_MAX:
        raise DatasetError(f"{path} has more than {BYTES_MAX >> 20} MiB. Leave out what is not evaluated on.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text in UTF-8 (byte {error.start:,}).") from None


def _lines(path: str, text: str) -> Iterator[list[str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield [_said(_decoded(line, f"{path}, line {number:,},"))]


def _list(path: str, text: str) -> Iterator[list[str]]:
    found = _decoded(text, path)
    for item in found if isinstance(found, list) else [found]:
        yield [_said(item)]


def _rows(path: str, rows: Any) -> Iterator[list[str]]:
    try:
        for row in rows:
            yield ["\n".join(row)]
    except csv.Error as error:
        raise DatasetError(f"{path}, line {rows.line_num:,}, cannot be read: {error}.") from error


def _decoded(text: str, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        # Without the text: a message about JSON may quote it.
        raise DatasetError(f"{where} is not JSON. For text, name the file .txt.") from error


def _said(item: Any) -> str:
    return "\n".join(_strings(item, 0))


def _strings(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth >= _DEPTH_MAX:
        return
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one, depth + 1)
    elif isinstance(value, dict) and (value.get("role") or value.get("from")) not in _INSTRUCTIONS:
        for name, one in value.items():
            if name not in _NOT_SAID:
                yield from _strings(one, depth + 1)
