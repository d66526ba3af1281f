"""ClickHouse's Native format, as little of it as is needed: a block without rows, and the columns of spans.

A block is the number of columns and of rows as varints, then for each column its name and type, length-prefixed, and
its values. Source: the ClickHouse manual, "Native format", and the serializations of LowCardinality and Map.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.ctypes import data_conv

LOW_CARDINALITY_VERSION: Final = 1
_OWN_KEYS: Final = 1 << 9 | 1 << 10
"""LowCardinality: the block brings the dictionary of its column."""
_INDEX_TYPES: Final = ((1 << 8, 0, "B"), (1 << 16, 1, "H"), (1 << 32, 2, "I"))
"""Keys at most, the type's number, and its code."""


def empty_block(described: bytes) -> bytes:
    """A block of no rows with the columns in `described`, the JSONCompact output of DESCRIBE TABLE."""
    answer: dict[str, Any] = msgspec.json.decode(described)
    columns = [(str(row[0]), str(row[1])) for row in answer["data"]]
    block = Block(len(columns), 0)
    for name, type_ in columns:
        block.begin(name, type_)
    return bytes(block.data)


class Block:
    """A block in the making: columns are added one after the other, each with as many values as the block has rows.

    Text that UTF-8 cannot say (a lone surrogate, which JSON can name) gets a question mark in its place.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.data = bytearray(_varint(columns) + _varint(rows))

    def begin(self, name: str, type_: str) -> None:
        """The head of a column; its values follow."""
        for text in (name.encode(), type_.encode()):
            self.data += _varint(len(text)) + text

    def numbers(self, name: str, type_: str, code: str, values: Iterable[int]) -> None:
        """A column of integers; `code` is the type's in `array`."""
        self.begin(name, type_)
        self.data += _little(array(code, values))

    def strings(self, name: str, values: Sequence[str]) -> None:
        """A column of type String."""
        self.begin(name, "String")
        add_strings(self.data, values)

    def string_arrays(self, name: str, rows: Sequence[Sequence[str]]) -> None:
        """A column of type Array(String)."""
        self.begin(name, "Array(String)")
        if not any(rows):
            self.data += bytes(8 * len(rows))
            return
        end = 0
        self.data += _little(array("Q", [end := end + len(row) for row in rows]))
        add_strings(self.data, [value for row in rows for value in row])

    def low_cardinality(self, name: str, values: Sequence[str]) -> None:
        """A column of type LowCardinality(String)."""
        self.begin(name, "LowCardinality(String)")
        self._number(LOW_CARDINALITY_VERSION)
        keys = dict.fromkeys(values)
        self._dictionary(keys, [values])

    def maps(self, name: str, keys: Sequence[tuple[str, ...]], values: bytes | bytearray) -> None:
        """A column of type Map(LowCardinality(String), String): each row's keys, and what `add_strings` made of the
        values of all rows.

        Rows with the same keys in the same order cost next to nothing.
        """
        self.begin(name, "Map(LowCardinality(String), String)")
        self._number(LOW_CARDINALITY_VERSION)
        end = 0
        self.data += _little(array("Q", [end := end + len(row) for row in keys]))
        if values:
            self._dictionary(dict.fromkeys(key for row in dict.fromkeys(keys) for key in row), keys)
            self.data += values

    def _dictionary(self, keys: Mapping[str, object], rows: Sequence[Collection[str]]) -> None:
        """Each key once, then where each value of each row is among them."""
        width, code = next((width, code) for most, width, code in _INDEX_TYPES if len(keys) <= most)
        self._number(_OWN_KEYS | width)
        self._number(len(keys))
        add_strings(self.data, tuple(keys))
        place = dict(zip(keys, range(len(keys)), strict=True)).__getitem__
        if len(rows) == 1:
            packed = _little(array(code, map(place, rows[0])))
        else:
            shapes = {row: _little(array(code, map(place, row))) for row in dict.fromkeys(rows)}
            packed = b"".join(map(shapes.__getitem__, rows))
        self._number(len(packed) // array(code).itemsize)
        self.data += packed

    def _number(self, value: int) -> None:
        self.data += value.to_bytes(8, "little")


def add_strings(data: bytearray, values: Sequence[str]) -> None:
    """Add `values` to `data` as a column of type String has them."""
    before = len(data)
    try:
        data_conv.write_str_col(values, False, "utf-8", data)
    except UnicodeEncodeError:
        del data[before:]
        data_conv.write_str_col([_encodable(value) for value in values], False, "utf-8", data)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _varint(value: int) -> bytes:
    """LEB128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
