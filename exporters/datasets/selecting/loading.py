"""Rows out of JSONL files that did not come from the store: plain, `.gz` or `.zst`.

Plain files are cut by byte ranges, at ends of lines, and read side by side; a compressed one is read in one go. Rows
are in the order of the files and their lines. Input files of the Batch API are no rows of their own: they are joined to
its output files by `custom_id`.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from ..errors import DatasetError
from ..example import Row
from ..options import Options
from .batch_inputs import BatchInputs
from .shapes import KNOWN, UNREADABLE, is_batch_input, row_of
from .sieve import Sieve
from .source import Slice
from .unpacking import PACKED, opened

SLICE_BYTES: Final = 16 * 1024 * 1024
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A longer line is unreadable."""

_PIECE_BYTES: Final = 1024 * 1024
_ROWS_OF_COMPRESSED: Final = 4
"""How many times more there is in a compressed file than in a plain one of its size, about."""
_KEYS_MAX: Final = 20
_BOM: Final = b"\xef\xbb\xbf"

_decode: Final = msgspec.json.Decoder().decode


class Line(NamedTuple):
    number: int
    """From 1."""
    begin: int
    """Byte of the file, unpacked."""
    text: bytes
    """Without its end; b"" when it is too long."""


class FileSource:
    """A `Source` over files."""

    def __init__(self, paths: tuple[Path, ...], options: Options, *, slice_bytes: int = SLICE_BYTES) -> None:
        """Raises `DatasetError`: a filter that only the store can answer."""
        self._paths = {str(path): path for path in paths}
        names = [path.name for path in paths]
        # By the name alone where that is enough: a folder that moved makes the same dataset.
        self._names = {str(path): path.name if names.count(path.name) == 1 else str(path) for path in paths}
        self._sieve = Sieve(options.select)
        self._slice_bytes = slice_bytes
        self._first_lines: dict[int, int] = {}
        self._inputs: BatchInputs | None = None

    def slices(self) -> Sequence[Slice]:
        """All files. Raises `DatasetError`: one cannot be read, or holds no line of a known shape."""
        found: list[Slice] = []
        joined = [key for key, path in self._paths.items() if _asks_a_batch(path)]
        self._inputs = BatchInputs({key: self._paths[key] for key in joined})
        for key, path in self._paths.items():
            if key in joined:
                for line in _lines(path):
                    if not is_batch_input(found_line := _decoded(line.text)):
                        raise DatasetError(f"{path}: line {line.number} is no question of a batch, as those before it.")
                    self._inputs.add(key, line.begin, found_line["custom_id"])
                continue
            for begin, end, rows, first in _cuts(path, self._slice_bytes):
                part = Slice(number=len(found), begin=begin, end=end, rows=rows, file=key)
                self._first_lines[part.number] = first
                found.append(part)
        self._inputs.seal()
        if len(joined) == len(self._paths):
            raise DatasetError("These are input files of the Batch API. Add the output files: the answers are there.")
        for key, path in self._paths.items():
            if key not in joined:
                _check_shape(path)
        return found

    def read(self, part: Slice) -> Iterator[Row]:
        """In the order of the lines. Raises `DatasetError` when the file cannot be read."""
        path = self._paths[part.file]
        name = self._names[part.file]
        plain = path.suffix not in PACKED
        first = self._first_lines.get(part.number, 1)
        inputs = self._inputs.body if self._inputs is not None else _no_inputs
        for line in _lines(path, part.begin if plain else 0, part.end if plain else None, first):
            row = row_of(_decoded(line.text), f"{name}:{line.number}", inputs)
            if row.input_messages == UNREADABLE or self._sieve.passes(row):
                yield row


def _no_inputs(custom_id: str) -> None:
    return None


def _any_input(custom_id: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "?"}]}


_NOTHING: Final = object()
"""Of a file without lines."""
_UNDECODED: Final = object()
"""Of a line that is no JSON."""


def _check_shape(path: Path) -> None:
    """Hold that there is one line that can be read. Mostly that is the first."""
    first: Any = _NOTHING
    for line in _lines(path):
        found = _decoded(line.text)
        if first is _NOTHING:
            first = found
        if row_of(found, "", _any_input).input_messages != UNREADABLE:
            return
    shapes = "\n".join(f"  {shape}" for shape in KNOWN)
    raise DatasetError(f"{path}: no line of it has a shape that is known. {_described(first)}\nKnown are:\n{shapes}")


def _decoded(text: bytes) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNDECODED


def _described(first: Any) -> str:
    """What the first line looks like: names only, never values."""
    if first is _NOTHING:
        return "It is empty."
    if first is _UNDECODED:
        return "Its first line is no JSON. Of a JSON array make lines: jq -c '.[]' FILE."
    if isinstance(first, list):
        return "Its first line is a JSON array. Make lines of it: jq -c '.[]' FILE."
    if not isinstance(first, dict):
        return "Its first line is no JSON object."
    keys = ", ".join(repr(key[:40]) for key in list(first)[:_KEYS_MAX])
    return f"Its first line has the keys {keys}{' and more' if len(first) > _KEYS_MAX else ''}."


def _asks_a_batch(path: Path) -> bool:
    """Whether the file begins as an input file of the Batch API."""
    return any(is_batch_input(_decoded(line.text)) for line in itertools.islice(_lines(path), 1))


def _cuts(path: Path, slice_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Begin, end, about how many rows, and the number of the first line, of stretches that end with a line."""
    with _told(path):
        size = path.stat().st_size
        if path.suffix in PACKED:
            yield 0, size, max(1, size * _ROWS_OF_COMPRESSED // 2048), 1
            return
        with path.open("rb") as file:
            begin = position = lines = 0
            first = 1
            while piece := file.read(_PIECE_BYTES):
                position += len(piece)
                cut = piece.rfind(b"\n") + 1
                if cut and position - begin >= slice_bytes:
                    lines += piece.count(b"\n")
                    end = position - (len(piece) - cut)
                    yield begin, end, lines, first
                    begin, first, lines = end, first + lines, 0
                else:
                    lines += piece.count(b"\n")
            if position > begin:
                yield begin, position, lines + 1, first


def _lines(path: Path, begin: int = 0, end: int | None = None, number: int = 1) -> Iterator[Line]:
    """The lines between two bytes, without those that are blank. `number` is that of the first."""
    with _told(path), closing(opened(path)) as file:
        if begin:
            file.seek(begin)
        position = begin
        while end is None or position < end:
            text = file.readline(LINE_BYTES_MAX)
            if not text:
                return
            at, whole = position, True
            position += len(text)
            while len(text) >= LINE_BYTES_MAX and not text.endswith(b"\n"):
                whole = False
                text = file.readline(LINE_BYTES_MAX)
                position += len(text)
                if not text:
                    break
            stripped = text.removeprefix(_BOM).strip() if not at else text.strip()
            if stripped or not whole:
                yield Line(number, at, stripped if whole else b"")
            number += 1


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (zlib.error, zstandard.ZstdError, EOFError, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path} is damaged, or not what its name says: {error}.") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
