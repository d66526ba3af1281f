"""Generations out of ClickHouse, in slices of about `SLICE_ROWS_MAX` rows, each read as a stream.

The store is asked three kinds of questions: once which columns it has and what it makes of `--where`, once how many
rows there are by the minute, and then one a slice. Times are fixed before the first row is read, so rows that arrive
meanwhile change nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
from clickhouse_connect.driver.client import Client
from urllib3.exceptions import HTTPError

from ...clickhouse.connect import StoreError, connect, parse_url, translated
from ..errors import DatasetError
from ..example import Row
from ..options import Options
from . import predicate, statements
from .conditions import OPINIONS, Conditions
from .reading import decoded_lines
from .slicing import Count, slices_of, smaller
from .source import Slice

_ARRIVING_NS: Final = 60 * 10**9
"""Calls that are so little too young for a selection were perhaps made for it."""
SLICE_ROWS_MAX: Final = 20_000
SLICE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of messages, about: the store sorts a slice in its memory."""

_END: Final = 2**63 - 1
_UNITS_NS: Final = (60 * 10**9, 10**9, 10**6)
"""What rows are counted by: minutes; a minute with too many by seconds; a second by milliseconds."""
_IN_SCOPE: Final = re.compile(r"[:,.]? (?:In scope|While executing|while executing|in query)\b|\. \([A-Z_]+\)")
"""Where ClickHouse begins to quote the whole statement, which nobody has written."""


class ClickHouseSource:
    """A `Source`. Connects when it is first asked, in each process anew; its `repr` does not show the password."""

    def __init__(
        self,
        url: str,
        options: Options,
        *,
        slice_rows_max: int = SLICE_ROWS_MAX,
        slice_bytes_max: int = SLICE_BYTES_MAX,
    ) -> None:
        """Raises `DatasetError`: the URL, or the text of `--where`."""
        with _told():
            self._address = parse_url(url)
        self._options = options
        self._where = predicate.checked(options.select.where) if options.select.where else ""
        # A guess until the store has read it; then what is wrong is said by name.
        self._conditions = self._conditioned(frozenset(re.findall(r"\w+", self._where)))
        self._limits = (slice_rows_max, slice_bytes_max)
        self._seen = _END
        self._client: Client | None = None

    def __repr__(self) -> str:
        return f"ClickHouseSource({self._address.public!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def slices(self) -> Sequence[Slice]:
        """All of it. Raises `DatasetError`: no rows (with what each filter left), no content, a bad `--where`."""
        if self._where:
            self._check_where()
        # What comes while rows are read is not seen: a slice and its count are of the same rows.
        self._seen = self._newest("feedback")
        begin = self._options.select.since_ns
        end = self._options.select.until_ns or self._newest("generations") + 1
        found = self._counts(begin, end, 0)
        rows = sum(count.rows for count in found)
        if not rows:
            raise DatasetError(self._nothing(begin, end))
        if sum(count.without_content for count in found) == rows:
            raise DatasetError(
                f"None of the {rows:,} generations has its messages: they were recorded with content off. "
                'Set content = "full" (or "redacted") under [record], and build from what is recorded then.'
            )
        return slices_of(found, *self._limits)

    def read(self, part: Slice) -> Iterator[Row]:
        """By time, then by id; a row that was delivered twice once. Raises `DatasetError`."""
        parameters: dict[str, Any] = {"begin": part.begin, "end": part.end}
        if part.file:
            bucket, _, buckets = part.file.partition("/")
            parameters |= {"bucket": int(bucket), "buckets": int(buckets)}
        sql = statements.rows(self._conditions.all, hashed=bool(part.file))
        before = ("", -1)
        with _told(), translated(self._address), closing(self._stream(sql, parameters)) as stream:
            for row in decoded_lines(stream):
                if (row.request_id, row.timestamp_ns) != before:
                    yield row
                before = (row.request_id, row.timestamp_ns)

    def _counts(self, begin: int, end: int, level: int) -> list[Count]:
        """Of each stretch of time with rows; where one has too many, of stretches within it."""
        unit = _UNITS_NS[level]
        asked = self._ask(statements.counts(self._conditions.all), {"begin": begin, "end": end, "unit": unit})
        found: list[Count] = []
        for place, rows, size, without in asked:
            count = Count(max(begin, place * unit), min(end, (place + 1) * unit), rows, int(size), without)
            if not count.is_over(*self._limits):
                found.append(count)
            elif level + 1 < len(_UNITS_NS):
                found += self._counts(count.begin, count.end, level + 1)
            else:
                found += smaller(count, *self._limits)
        return found

    def _check_where(self) -> None:
        """Let the store read the predicate, and hold that all it names is there."""
        try:
            tree = self._ask(predicate.question(self._where))
            mentioned = predicate.mentioned("\n".join(line for (line,) in tree))
            known = [name for name, _, kind, *_ in self._ask("DESCRIBE TABLE generations") if kind != "ALIAS"]
            predicate.check_columns(mentioned, [*known, *OPINIONS])
            self._conditions = self._conditioned(mentioned)
            # Types: the store says what does not fit, before anything is counted.
            self._ask(statements.left_after_each(self._conditions.all), {"begin": 0, "end": 0})
        except _StatementRefused as error:
            said = _IN_SCOPE.split(str(error), maxsplit=1)[0]
            raise DatasetError(f"The condition of --where cannot be evaluated: {said}.") from error

    def _conditioned(self, words: frozenset[str]) -> Conditions:
        return Conditions(self._options.select, self._where, not words.isdisjoint(OPINIONS))

    def _nothing(self, begin: int, end: int) -> str:
        """What each filter leaves, down to the first that leaves nothing."""
        conditions = self._conditions.all
        asked = self._ask(statements.left_after_each(conditions), {"begin": begin, "end": end})
        lines = ["No generation passes all filters. Left after each in turn:"]
        for says, left in zip(["in the time range", *(one.says for one in conditions)], asked[0], strict=True):
            lines.append(f"  {left:>13,}  {says}")
            if not left:
                break
        if not asked[0][0]:
            total, first, last = self._ask("SELECT count(), min(timestamp), max(timestamp) FROM generations")[0]
            reach = f", from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}" if total else ""
            lines.append(f"There are {total:,} generations at {self._address.public}{reach}.")
            if total and end <= self._newest("generations") < end + _ARRIVING_NS:
                until = datetime.fromtimestamp(end / 1e9, UTC)
                lines.append(f"Newer ones than {until:%H:%M:%S} UTC may still be arriving: build again in a moment.")
        return "\n".join(lines)

    def _newest(self, table: str) -> int:
        return int(self._ask(f"SELECT toUnixTimestamp64Nano(max(timestamp)) FROM {table}")[0][0])

    def _ask(self, sql: str, parameters: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """The rows of a short answer. Raises `DatasetError`; `_StatementRefused` when the store read it and said no."""
        with _told(), translated(self._address):
            # Without parameters nothing in the text means anything to the client, be it `%` or braces.
            asked = None if parameters is None else self._with_parameters(parameters)
            answer = self._connected().query(sql, parameters=asked)
            rows: Sequence[Sequence[Any]] = answer.result_rows
            return rows

    def _stream(self, sql: str, parameters: dict[str, Any]) -> io.IOBase:
        asked = self._with_parameters(parameters)
        return cast(io.IOBase, self._connected().raw_stream(sql, parameters=asked, fmt="JSONCompactEachRow"))

    def _with_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        named = {"score_name": self._options.select.score_name, "seen": self._seen}
        return {**self._conditions.parameters, **named, **parameters}

    def _connected(self) -> Client:
        if self._client is None:
            self._client = connect(self._address)
            # One more wall: whatever is asked, nothing is written. A user who may only read has it already.
            allowed = self._client.server_settings.get("readonly")
            if allowed is not None and allowed.value == "0":
                self._client.set_client_setting("readonly", "2")
            # Lists of users may be longer than a URL.
            self._client.form_encode_query_params = True  # type: ignore[attr-defined]
        return self._client


class _StatementRefused(DatasetError):
    """The store understood the question and did not answer it."""


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the store, and of the way to it, as errors of the dataset."""
    try:
        yield
    except StoreError as error:
        raise _StatementRefused(str(error)) from error
    except (HTTPError, OSError, msgspec.DecodeError) as error:
        raise DatasetError(
            f"ClickHouse broke off in the middle of an answer ({type(error).__name__}). Its log says why; often its "
            "memory is too small."
        ) from error
