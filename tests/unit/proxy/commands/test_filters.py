"""Filters become SQL whose values travel apart from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.commands.failure import CommandFailed
from proxy.commands.filters import Filters, parse_since

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0s", NOW),
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(days=1)),
        ("2w", NOW - timedelta(days=14)),
        ("2026-11-20T10:00:00+02:00", datetime(2026, 11, 20, 10, tzinfo=timezone(timedelta(hours=2)))),
        ("2026-11-20", datetime(2026, 11, 20).astimezone(UTC)),
    ],
)
def test_since(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-1h", "5y", "999999w", "2026-13-01"])
def test_since_that_is_no_time(text: str) -> None:
    with pytest.raises(CommandFailed, match="--since"):
        parse_since(text, NOW)


def test_no_filter_selects_everything() -> None:
    assert Filters().where() == ("1", {})


def test_an_alias_and_its_variant() -> None:
    where, values = Filters(alias="bot", variant="tuned").where()
    assert where == "1 AND alias = {alias:String} AND variant = {variant:String}"
    assert values == {"alias": "bot", "variant": "tuned"}


def test_all_filters_at_once() -> None:
    where, values = Filters(
        since=NOW, model="gpt*_1", status="4xx", user="u", session="s", key="k", tag="a=b=c", errors=True
    ).where()
    assert values == {
        "since": int(NOW.timestamp() * 1000),
        "model": "gpt%\\_1",
        "status_low": 400,
        "status_high": 499,
        "user": "u",
        "session": "s",
        "key_id": "k",
        "tag": "a",
        "tag_value": "b=c",
    }
    assert where.count(" AND ") == 9  # one before each filter, and one inside BETWEEN
    assert "status >= 400 OR" in where


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1))
def test_what_a_user_writes_is_never_part_of_the_sql(text: str, other: str) -> None:
    mark = "\x00mark" + text
    where, values = Filters(model=mark, user=mark, session=mark, key=mark, tag=mark + "=" + other).where()
    assert "mark" not in where
    assert values["user"] == mark


@pytest.mark.parametrize("status", ["6xx", "abc", "4x", "1000", "429 OR 1"])
def test_a_status_that_is_none(status: str) -> None:
    with pytest.raises(CommandFailed, match="--status"):
        Filters(status=status).where()


@pytest.mark.parametrize(("status", "low", "high"), [("429", 429, 429), ("5XX", 500, 599), ("0", 0, 0)])
def test_statuses(status: str, low: int, high: int) -> None:
    assert Filters(status=status).where()[1] == {"status_low": low, "status_high": high}
