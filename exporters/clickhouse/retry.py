"""What to do about an error of ClickHouse or of the way to it: try again, or set the records aside.

Only what the records themselves cause is refused. Whatever an operator can mend (a password, a full disk, an older
schema) is tried again for as long as it takes, because the records wait safely in the spool. So is every code that is
not in the table: a record that waits can still be saved, one that was set aside may be forgotten.
"""

from __future__ import annotations

import re
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from ..sink import BatchRefused, SinkUnavailable

REFUSED: Final = {
    6: "text of another type than the column",
    25: "an escape sequence that cannot be read",
    26: "a quoted string that cannot be read",
    27: "text that is not in the expected form",
    33: "data that end too early",
    38: "a date that cannot be read",
    41: "a time that cannot be read",
    53: "a value of another type than the column",
    69: "a value out of its range",
    72: "a number that cannot be read",
    117: "data that contradict themselves",
    128: "an array that is too large",
    131: "a string that is too large",
    349: "NULL where the column has none",
    407: "a number that is too large for its column",
    467: "a truth value that cannot be read",
    552: "more than the server takes at once",
}
"""Codes that the data cause, with the reason: the same batch will never be taken."""

MENDED_BY_OPERATOR: Final = {
    16: "the tables are of an older schema: run `penstock migrate`",
    60: "a table is missing: run `penstock migrate`",
    81: "the database does not exist: create it, or grant CREATE DATABASE",
    115: "the server does not know a setting of ours: it is older than ClickHouse 25.8",
    164: "the user may only read",
    192: "the user is unknown",
    193: "the password is wrong",
    194: "a password is required",
    243: "the server's disk is full",
    497: "the user lacks a right",
    516: "the user or the password is wrong",
}
"""Codes that wait for somebody, with what to do."""

PASSING: Final = {
    159: "a statement took too long",
    201: "a quota is exceeded",
    202: "too many statements run at once",
    203: "no free connection",
    209: "a timeout between servers",
    210: "a network fault between servers",
    225: "no ZooKeeper or Keeper",
    236: "the statement was aborted",
    241: "the server is at its memory limit",
    242: "the table is read-only for now (a replica lost its Keeper)",
    252: "too many parts: merges must catch up",
    279: "no replica answers",
    285: "too few live replicas",
    286: "no quorum",
    319: "it is not known whether the insert was stored; the token makes it safe to repeat",
    394: "the statement was cancelled",
    425: "a fault of the server's system",
    439: "the server has no free thread",
    999: "a fault of Keeper",
}
"""Codes that pass by themselves, with the reason."""

_LINE_MAX: Final = 300
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_QUOTED = re.compile(r"(?<!identifier )(?<!setting )'[^']*(?:'|\Z)")


def one_line(error: BaseException) -> str:
    """What went wrong in one line: no credentials, and nothing of the data that ClickHouse quotes."""
    text = str(error)
    found = re.search(r"DB::Exception: ", text)
    if found:
        text = _QUOTED.sub("'...'", text[found.end() :])
    text = re.sub(r"\s*\(version [^)]*\).*", "", text, flags=re.DOTALL)
    return _CREDENTIALS.sub("//", " ".join(text.split()))[:_LINE_MAX]


def judged(error: ClickHouseError) -> SinkUnavailable | BatchRefused:
    """What the recorder is told about `error`."""
    code = error.code if isinstance(error, Error) else None
    if code in REFUSED:
        return BatchRefused(f"ClickHouse refuses the batch (code {code}: {REFUSED[code]})")
    if code is None:
        return SinkUnavailable("ClickHouse cannot be reached: " + one_line(_root(error)))
    if code in MENDED_BY_OPERATOR:
        return SinkUnavailable(f"ClickHouse: {MENDED_BY_OPERATOR[code]} ({one_line(error)})")
    return SinkUnavailable(f"ClickHouse: {PASSING.get(code, 'an error')} (code {code}: {one_line(error)})")


def _root(error: BaseException) -> BaseException:
    """The cause that says it shortest: the last one of the chain with a text."""
    found = error
    inner: BaseException | None = error
    while inner is not None:
        if str(inner):
            found = inner
        inner = getattr(inner, "reason", None) or inner.__cause__
        if not isinstance(inner, BaseException):
            break
    return found
