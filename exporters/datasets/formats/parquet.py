"""Parquet for Hugging Face `datasets`, in the shape that trl's trainers take as it is.

`messages` for the masks "assistant" (with `SFTConfig(assistant_only_loss=True)`) and "all"; for "last" `prompt` and
`completion`, of which trl learns the completion alone; for corrected answers `prompt`, `chosen` and `rejected`, in
files of their own. Each message is JSON in a column of that type, which `datasets` reads as a dict: with columns for
its fields every message would have all of them, and chat templates ask whether there is a `tool_calls`, not whether it
is null. As templates want it, arguments are objects and results have the name of their function.

Rows are written in groups, so memory stays flat. Source: trl's "Dataset formats and types", and `datasets.Json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ..example import Example, Message
from ..options import Split, Write
from .messages import arguments, unsayable, unweighted, words, written
from .preferences import pair

_ROWS_MAX: Final = 1000
_CHARACTERS_MAX: Final = 16_000_000
"""Of a row group: what comes first."""
_MESSAGES: Final = pa.list_(pa.json_())
_ABOUT: Final = (
    pa.field("request_id", pa.string()),
    pa.field("model", pa.string()),
    pa.field("prompt_name", pa.string()),
    pa.field("prompt_version", pa.string()),
    pa.field("tags", pa.json_()),
    pa.field("label", pa.string()),
    pa.field("score", pa.float64()),
    pa.field("tokens", pa.int64()),
    pa.field("split", pa.string()),
    pa.field("response_format", pa.json_()),
)
_encode: Final = msgspec.json.Encoder().encode
_Said = dict[str, list[str]]
"""Columns of messages, by name."""


class _Encoded(msgspec.Struct, array_like=True):
    said: _Said
    pair: _Said
    about: dict[str, Any]


_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(_Encoded).decode


class Parquet:
    """`train.parquet`, `preferences.train.parquet` and so on."""

    name = "parquet"

    def __init__(self, options: Write, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._tables: dict[str, _Table] = {}

    def encode(self, example: Example) -> bytes:
        messages = unweighted(written(example, self._options))
        if unsayable(messages):
            return b""
        if self._options.mask == "last":
            *prompt, completion = messages
            said = {"prompt": _told(prompt), "completion": _told([completion])}
        else:
            said = {"messages": _told(messages)}
        return _pack(_Encoded(said, self._pair(example) if example.rejected else {}, _about(example)))

    def _pair(self, example: Example) -> _Said:
        asked, preferred, rejected = pair(example, self._options)
        if unsayable([rejected]):
            return {}
        return {"prompt": _told(asked), "chosen": _told([preferred]), "rejected": _told([rejected])}

    def add(self, split: Split, encoded: bytes) -> None:
        """Raises `OSError`."""
        found = _unpack(encoded)
        self._table(split, found.said).add(found.said, split, found.about)
        if found.pair:
            self._table(f"preferences.{split}", found.pair).add(found.pair, split, found.about)

    def write(self, split: Split, example: Example) -> None:
        """Raises `OSError`."""
        if encoded := self.encode(example):
            self.add(split, encoded)

    def close(self) -> list[Path]:
        for table in self._tables.values():
            table.close()
        return [table.path for table in self._tables.values()]

    def _table(self, name: str, said: _Said) -> _Table:
        if name not in self._tables:
            self._tables[name] = _Table(self._folder / f"{name}.parquet", tuple(said))
        return self._tables[name]


class _Table:
    """One file. `said` are the names of its columns of messages."""

    def __init__(self, path: Path, said: Sequence[str]) -> None:
        self.path = path
        tools = pa.field("tools", _MESSAGES)
        self._schema = pa.schema([*(pa.field(name, _MESSAGES) for name in said), tools, *_ABOUT])
        self._plain = pa.schema([pa.field(field.name, _storage(field.type)) for field in self._schema])
        self._file: BinaryIO = path.open("xb")
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._characters = 0

    def add(self, said: _Said, split: Split, about: dict[str, Any]) -> None:
        self._rows.append({**said, **about, "split": split})
        self._characters += sum(map(len, (text for texts in said.values() for text in texts)))
        if len(self._rows) >= _ROWS_MAX or self._characters >= _CHARACTERS_MAX:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
            self._writer.close()
        finally:
            self._file.close()

    def _flush(self) -> None:
        if self._rows:
            # Arrow makes columns of JSON from columns of text, and from Python's own values it makes none.
            table = pa.Table.from_pylist(self._rows, schema=self._plain)
            self._writer.write_table(table.cast(self._schema))
            self._rows = []
            self._characters = 0


def _about(example: Example) -> dict[str, Any]:
    return {
        "tools": [_text(tool) for tool in example.tools] or None,
        "request_id": example.request_id,
        "model": example.model,
        "prompt_name": example.prompt_name,
        "prompt_version": example.prompt_version,
        "tags": _text(example.tags),
        "label": example.label,
        "score": example.score,
        "tokens": example.tokens,
        "response_format": _text(example.response_format) if example.response_format else None,
    }


def _storage(kind: pa.DataType) -> pa.DataType:
    if kind == _MESSAGES:
        return pa.list_(pa.string())
    return pa.string() if kind == pa.json_() else kind


def _text(value: Any) -> str:
    return _encode(value).decode()


def _told(messages: list[Message]) -> list[str]:
    """Each as the JSON that chat templates expect."""
    told = []
    names: dict[object, str] = {}
    for message in messages:
        calls = message.get("tool_calls")
        if calls:
            names.update((call["id"], call["function"]["name"]) for call in calls)
            called = [
                {"id": call["id"], "type": "function", "function": {**call["function"], "arguments": arguments(call)}}
                for call in calls
            ]
            message = {**message, "content": words(message), "tool_calls": called}
        elif not isinstance(message["content"], str) or "refusal" in message:
            message = {**message, "content": words(message)}
            message.pop("refusal", None)
        if message["role"] == "tool" and "name" not in message and (name := names.get(message.get("tool_call_id"))):
            message = {**message, "name": name}
        told.append(_text(message))
    return told
