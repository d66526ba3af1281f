"""What a SQL text is, as far as the embedded store must know before it runs it: pure functions, no engine.

Two kinds of reading. The head of an INSERT is read from the text itself, because data follows it. Everything else is
read from the canonical text, the one that the engine's own formatter makes of it: without comments, with one way to
quote, so that what is looked for cannot hide.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["insert", "select", "other"]

HEAD_BYTES_MAX: Final = 64 * 1024
"""An INSERT's FORMAT or VALUES is looked for up to here."""

_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_AFTER_FORMAT = re.compile(rb"[ \t\f]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT that brings its own data. `data_at`: where in the text the data begin."""

    head: bytes
    """Up to and without FORMAT or VALUES."""
    format: str
    data_at: int


def read_insert(text: bytes) -> Insert | None:
    """None when `text` is no INSERT with data (INSERT ... SELECT is none)."""
    depth = 0
    format_at: int | None = None
    started = False
    for token in _TOKEN.finditer(text, 0, HEAD_BYTES_MAX):
        if token.lastgroup == "space":
            continue
        if token.lastgroup == "word":
            word = token[0].upper()
            if not started:
                if word != b"INSERT":
                    return None
                started = True
            elif format_at is not None:
                at = _AFTER_FORMAT.match(text, token.end())
                return Insert(text[:format_at], token[0].decode(), at.end() if at else token.end())
            elif depth == 0 and word in (b"SELECT", b"WITH", b"INFILE"):
                return None
            elif depth == 0 and word == b"VALUES":
                return Insert(text[: token.start()], "Values", token.end())
            elif depth == 0 and word == b"FORMAT":
                format_at = token.start()
            continue
        if not started:
            return None
        depth += {b"(": 1, b")": -1}.get(token[0], 0)
    return None


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`", re.DOTALL)
_FORMAT_END = re.compile(r"\sFORMAT (\w+)(?: SETTINGS [^()]*)?$")
_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*\(")
_APPLY = re.compile(r"\bAPPLY\s*\(?\s*([A-Za-z_][A-Za-z0-9_]*)")
_ENGINE = re.compile(r"\bENGINE\s*=\s*(\w+)", re.IGNORECASE)
_ENGINES = re.compile(r"\w*MergeTree|Null|Atomic")
_FILE_CLAUSE = re.compile(r"\b(?:OUTFILE|INFILE)\b", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[\s(]*([A-Za-z]+)")


class Refused(Exception):
    """The statement would leave the database; the message says by what."""


def masked(canonical: str) -> str:
    """The canonical text with string literals emptied and identifiers unquoted."""
    return _QUOTED.sub(lambda match: "''" if match[0][0] == "'" else match[0][1:-1], canonical)


def check_stays_inside(canonical: str, refused: Collection[str]) -> None:
    """Raises `Refused` when the statement calls a function of `refused` (lower case), or reads or writes a file."""
    text = masked(canonical)
    if clause := _FILE_CLAUSE.search(text):
        raise Refused(f"{clause[0].upper()} is not available here: the store never touches files for its clients")
    if re.match(r"\s*KILL\b", text, re.IGNORECASE):
        raise Refused("KILL is not available here: writer and readers are one user to the engine")
    for engine in _ENGINE.findall(text):
        if not _ENGINES.fullmatch(engine):
            raise Refused(f"The engine {engine} is not available here: only those of the MergeTree family and Null are")
    for name in (*_CALL.findall(text), *_APPLY.findall(text)):
        if name.lower() in refused:
            raise Refused(f"The function {name} is not available here: it would leave the database")


def read_kind(canonical: str) -> Kind:
    word = _FIRST_WORD.match(canonical)
    first = word[1].upper() if word else ""
    if first in ("SELECT", "WITH"):
        return "select"
    return "insert" if first == "INSERT" else "other"


def split_format(canonical: str) -> tuple[str, str | None]:
    """The statement without its FORMAT clause, and that clause's name; a SETTINGS clause after it is kept."""
    text = _QUOTED.sub(lambda match: "x" * len(match[0]), canonical)
    found = _FORMAT_END.search(text)
    if found is None:
        return canonical, None
    return canonical[: found.start()] + canonical[found.end(1) :], found[1]
