"""Which calls a report is about: command-line filters as one WHERE clause with server-side parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from .failure import CommandFailed

FAILED = "(status >= 400 OR outcome IN ('failed', 'cut', 'interrupted'))"
"""SQL: the caller did not get what it asked for."""

REUSED = "(outcome = 'cached' OR cache_status IN ('hit', 'semantic', 'coalesced'))"
"""SQL: nothing was bought for this call. The column `reused` says the same; a store that is not migrated has none."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_since(text: str, now: datetime) -> datetime:
    """`30m`, `24h`, `7d`, or a date or time in ISO 8601 (local where no zone is given). Raises `CommandFailed`."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text.strip()):
        try:
            return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError as error:
            raise CommandFailed(f"--since {text}: that is before the calendar begins.") from error
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise CommandFailed(
            f"--since {text!r} is not a time. Write 30m, 24h, 7d, or a date such as 2026-11-23 or 2026-11-23T14:00."
        ) from error
    return moment.astimezone(now.tzinfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """None and "" select everything."""

    since: datetime | None = None
    model: str = ""
    """A name, or a pattern with `*`."""
    status: str = ""
    """`429` or `4xx`."""
    user: str = ""
    session: str = ""
    key: str = ""
    alias: str = ""
    variant: str = ""
    tag: str = ""
    """`name=value`, or a name alone."""
    errors: bool = False

    def __post_init__(self) -> None:
        """Raises `CommandFailed` for a status that is none, before anybody looks for a store."""
        if self.status:
            _status_range(self.status)

    def where(self) -> tuple[str, dict[str, object]]:
        """The condition and its parameters."""
        terms = ["1"]
        values: dict[str, object] = {}
        if self.since is not None:
            terms.append("timestamp >= fromUnixTimestamp64Milli({since:Int64})")
            values["since"] = int(self.since.timestamp() * 1000)
        if self.model:
            terms.append("model LIKE {model:String}")
            values["model"] = _like(self.model)
        for column, value in (
            *(("user", self.user), ("session", self.session), ("key_id", self.key)),
            *(("alias", self.alias), ("variant", self.variant)),
        ):
            if value:
                terms.append(f"{column} = {{{column}:String}}")
                values[column] = value
        if self.status:
            low, high = _status_range(self.status)
            terms.append("status BETWEEN {status_low:UInt16} AND {status_high:UInt16}")
            values |= {"status_low": low, "status_high": high}
        if self.tag:
            name, has_value, value = self.tag.partition("=")
            terms.append("tags[{tag:String}] = {tag_value:String}" if has_value else "mapContains(tags, {tag:String})")
            values |= {"tag": name, "tag_value": value} if has_value else {"tag": name}
        if self.errors:
            terms.append(FAILED)
        return " AND ".join(terms), values


def _like(pattern: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%")


def _status_range(text: str) -> tuple[int, int]:
    if found := re.fullmatch(r"([1-5])xx", text.lower()):
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    if re.fullmatch(r"[0-5]?\d?\d", text):
        return int(text), int(text)
    raise CommandFailed(f"--status {text!r} is not a status. Write 429 or 4xx.")
