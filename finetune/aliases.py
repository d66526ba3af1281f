"""Upstreams, aliases and variants in the text of `penstock.toml`, changed where they stand.

Comments and layout stay: a new table is put behind the last of its kind, a value is changed in its line, all other
lines are as they were. What comes out is read again and compared with what was meant, so that a file that is laid out
in a way not thought of is refused, never spoilt.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError

from .errors import FinetuneError

Table = dict[str, Any]

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w.\"' -]+?)\s*\]\]?\s*(#.*)?")
_QUOTES: Final = re.compile(r"\"\"\"|'''")
_VARIANTS: Final = "models.variants"
_UNSAFE: Final = (
    "The configuration is laid out in a way that cannot be changed safely: write [[models]], [[models.variants]] and "
    "[[upstreams]] as tables of their own, each behind the one it belongs to."
)


class Block(NamedTuple):
    """A table of the file: the lines from its header to its last value. Comments behind that are the next one's."""

    name: str
    start: int
    end: int


class Aliases:
    """The text of one file while it is changed. `tables` is what it means."""

    def __init__(self, text: str) -> None:
        """Raises `FinetuneError` when it is not TOML, or has something else in the place of these tables."""
        try:
            self.tables: Table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise FinetuneError(f"The configuration is not valid TOML: {error}.") from error
        self._text = text
        tables = [self.tables.get("upstreams", []), models := self.tables.get("models", [])]
        if _are_tables(models):
            tables += [model.get("variants", []) for model in models]
        if not all(map(_are_tables, tables)):
            raise FinetuneError("Write [[upstreams]], [[models]] and [[models.variants]] in double brackets.")

    def alias(self, name: str) -> int | None:
        """Its place among `[[models]]`."""
        return _place(self.tables.get("models", []), name)

    def variants(self, alias: int) -> list[Table]:
        """Of the alias at that place."""
        found: list[Table] = self.tables["models"][alias].setdefault("variants", [])
        return found

    def upstream(self, name: str) -> Table | None:
        upstreams: list[Table] = self.tables.get("upstreams", [])
        place = _place(upstreams, name)
        return None if place is None else upstreams[place]

    def add_upstream(self, values: Table) -> None:
        self.tables.setdefault("upstreams", []).append(values)
        self._add(_last(self._blocks(), "upstreams"), "upstreams", values)

    def set_upstream(self, name: str, key: str, value: str) -> None:
        place = _place(self.tables["upstreams"], name)
        self.tables["upstreams"][place][key] = value
        self._set(lambda file: file["upstreams"][place], key, value)

    def remove_upstream(self, name: str) -> None:
        place = _place(self.tables["upstreams"], name)
        if place is not None:
            del self.tables["upstreams"][place]
            self._remove([block for block in self._blocks() if block.name == "upstreams"], place)

    def add_alias(self, values: Table, variants: list[Table]) -> None:
        self.tables.setdefault("models", []).append({**values, "variants": []})
        self._add(_last(self._blocks(), "models"), "models", values)
        for variant in variants:
            self.add_variant(len(self.tables["models"]) - 1, variant)

    def add_variant(self, alias: int, values: Table) -> None:
        self.variants(alias).append(values)
        own = self._of_alias(alias)
        self._add(own[-1] if own else None, _VARIANTS, values)

    def set_variant(self, alias: int, place: int, key: str, value: str | float) -> None:
        """Left alone where it has that value."""
        variant = self.variants(alias)[place]
        if variant.get(key) == value:
            return
        variant[key] = value
        self._set(lambda file: file["models"][alias]["variants"][place], key, value)

    def remove_variant(self, alias: int, place: int) -> None:
        del self.variants(alias)[place]
        self._remove([block for block in self._of_alias(alias) if block.name == _VARIANTS], place)

    def text(self) -> str:
        """The file. Raises `FinetuneError` when it would not say what was meant."""
        try:
            as_meant = tomllib.loads(self._text) == self.tables
        except tomllib.TOMLDecodeError:
            as_meant = False
        if not as_meant:
            raise FinetuneError(_UNSAFE)
        return self._text

    def _set(self, find: Callable[[Any], Any], key: str, value: str | float) -> None:
        try:
            document = tomlkit.parse(self._text)
            find(document)[key] = value
        except (TOMLKitError, LookupError) as error:
            raise FinetuneError(_UNSAFE) from error
        self._text = tomlkit.dumps(document)

    def _blocks(self) -> list[Block]:
        found: list[Block] = []
        quotes = ""
        for number, line in enumerate(self._text.splitlines()):
            header = None if quotes else _HEADER.fullmatch(line)
            if header is not None:
                found.append(Block(header[2].replace(" ", ""), number, number + 1))
            elif found and (quotes or (line.strip() and not line.lstrip().startswith("#"))):
                found[-1] = found[-1]._replace(end=number + 1)
            for mark in _QUOTES.findall(line):
                quotes = "" if quotes == mark else quotes or mark
        return found

    def _of_alias(self, alias: int) -> list[Block]:
        """The blocks of one alias: its own, then its variants'."""
        found: list[list[Block]] = []
        for block in self._blocks():
            if block.name == "models":
                found.append([block])
            elif block.name == _VARIANTS and found:
                found[-1].append(block)
        return found[alias] if alias < len(found) else []

    def _add(self, behind: Block | None, name: str, values: Table) -> None:
        lines = self._text.splitlines(keepends=True)
        end = "\r\n" if "\r\n" in self._text else "\n"
        place = len(lines) if behind is None else behind.end
        if place and not lines[place - 1].endswith("\n"):
            lines[place - 1] += end
        made = f"[[{name}]]\n{tomlkit.dumps(values)}".replace("\n", end)
        before = end if place and lines[place - 1].strip() else ""
        after = end if place < len(lines) and lines[place].lstrip().startswith("[") else ""
        self._text = "".join([*lines[:place], before, made, after, *lines[place:]])

    def _remove(self, blocks: list[Block], place: int) -> None:
        if place >= len(blocks):
            return  # it is written in another way, and `text` will say so
        lines = self._text.splitlines(keepends=True)
        start, end = blocks[place].start, blocks[place].end
        if start and not lines[start - 1].strip():
            start -= 1
        self._text = "".join([*lines[:start], *lines[end:]])


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _place(tables: list[Table], name: str) -> int | None:
    return next((place for place, table in enumerate(tables) if table.get("name") == name), None)


def _last(blocks: list[Block], name: str) -> Block | None:
    found = [block for block in blocks if block.name == name or block.name.startswith(f"{name}.")]
    return found[-1] if found else None
