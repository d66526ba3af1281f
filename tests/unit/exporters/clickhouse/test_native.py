"""A Native block without rows."""

from __future__ import annotations

import msgspec

from exporters.clickhouse.native import empty_block


def test_names_and_types_are_length_prefixed() -> None:
    described = msgspec.json.encode({"data": [["a", "UInt8", "", ""], ["é" * 100, "String"]]})
    assert empty_block(described) == b"\x02\x00\x01a\x05UInt8\xc8\x01" + ("é" * 100).encode() + b"\x06String"


def test_no_columns() -> None:
    assert empty_block(b'{"data":[]}') == b"\x00\x00"
