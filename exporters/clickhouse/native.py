"""ClickHouse's Native format, as little of it as the engine does not write itself: a block without rows."""

from __future__ import annotations

from typing import Any

import msgspec


def empty_block(described: bytes) -> bytes:
    """A block of no rows with the columns in `described`, the JSONCompact output of DESCRIBE TABLE.

    Format: number of columns and of rows as varints, then for each column its name and type, length-prefixed.
    """
    answer: dict[str, Any] = msgspec.json.decode(described)
    columns = [(str(row[0]), str(row[1])) for row in answer["data"]]
    block = bytearray(_varint(len(columns)) + _varint(0))
    for name, type_ in columns:
        for text in (name.encode(), type_.encode()):
            block += _varint(len(text)) + text
    return bytes(block)


def _varint(value: int) -> bytes:
    """LEB128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
