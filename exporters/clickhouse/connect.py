"""One way to ClickHouse for every reader and writer of the project, embedded or not: clickhouse-connect over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from .retry import MENDED_BY_OPERATOR, one_line

CONNECT_TIMEOUT_S: Final = 5
ANSWER_TIMEOUT_S: Final = 120


class StoreError(Exception):
    """One line for the terminal, without credentials: what ClickHouse said, and what to do about it."""


class StoreUnavailable(StoreError):
    """ClickHouse cannot be reached, or does not let us in."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where ClickHouse's HTTP interface is. `repr` does not show the password."""

    host: str
    port: int
    user: str
    password: str
    database: str
    secure: bool

    def __repr__(self) -> str:
        return f"Address({self.public!r})"

    @property
    def public(self) -> str:
        """The URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}/{self.database}"


def parse_url(url: str) -> Address:
    """Read `http(s)://user:password@host:port/database`, all but the host optional. Raises `StoreError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise StoreError("The ClickHouse URL has no valid host and port.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreError("A ClickHouse URL is written http://user:password@host:8123/database, or with https.")
    database = unquote(parts.path.strip("/"))
    if database and not re.fullmatch(r"[A-Za-z0-9_-]+", database):
        raise StoreError(f"{database!r} is not the name of a ClickHouse database.")
    secure = parts.scheme == "https"
    return Address(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=database or "default",
        secure=secure,
    )


def connect(target: str | Address, *, database: str | None = None, answer_timeout_s: int = ANSWER_TIMEOUT_S) -> Client:
    """A client of its own, for one thread at a time; close it. Raises `StoreUnavailable` (or `StoreError`: bad URL).

    `database`: another one than the address names; "" none, which works before it exists.
    """
    address = parse_url(target) if isinstance(target, str) else target
    with translated(address):
        return clickhouse_connect.get_client(
            host=address.host,
            port=address.port,
            username=address.user,
            password=address.password,
            database=(address.database if database is None else database) or "__default__",
            secure=address.secure,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=answer_timeout_s,
            autogenerate_session_id=False,
            compress=address.host not in ("127.0.0.1", "::1", "localhost"),
            client_name="penstock",
        )


@contextmanager
def translated(address: Address | None = None) -> Iterator[None]:
    """Turns the errors of clickhouse-connect inside the `with` into `StoreError` and `StoreUnavailable`."""
    try:
        yield
    except ClickHouseError as error:
        where = f" at {address.public}" if address else ""
        code = error.code if isinstance(error, Error) else None
        if code is None:
            raise StoreUnavailable(f"ClickHouse{where} cannot be reached: {one_line(_innermost(error))}.") from error
        if code in MENDED_BY_OPERATOR:
            raise StoreUnavailable(f"ClickHouse{where}: {MENDED_BY_OPERATOR[code]} (code {code}).") from error
        raise StoreError(f"ClickHouse{where} (code {code}): {one_line(error)}") from error


def _innermost(error: BaseException) -> BaseException:
    found: BaseException = error
    while (inner := getattr(found, "reason", None) or found.__cause__ or found.__context__) is not None:
        if not isinstance(inner, BaseException) or not str(inner):
            break
        found = inner
    return found
