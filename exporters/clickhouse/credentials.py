"""The two users of the embedded store: a writer, for Penstock itself, and a reader, for dashboards and commands."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import msgspec

FILE_NAME: Final = "credentials.json"
DATABASE: Final = "penstock"

Role = Literal["writer", "reader"]


class Login(msgspec.Struct, frozen=True):
    user: str
    password: str


class Credentials(msgspec.Struct, frozen=True):
    """Kept in `credentials.json` of the store's directory, readable by its owner alone (mode 0600)."""

    writer: Login
    reader: Login

    def role(self, user: str, password: str) -> Role | None:
        """Who this is; None when it is nobody. Takes the same time for any user and password of a length."""
        found: Role | None = None
        if _same(self.writer, user, password):
            found = "writer"
        if _same(self.reader, user, password):
            found = "reader"
        return found

    def url(self, port: int, role: Role) -> str:
        """`http://user:password@127.0.0.1:port/penstock`, for `connect`."""
        login = self.writer if role == "writer" else self.reader
        return f"http://{quote(login.user)}:{quote(login.password, safe='')}@127.0.0.1:{port}/{DATABASE}"


def _same(login: Login, user: str, password: str) -> bool:
    expected = f"{login.user}\0{login.password}".encode()
    return hmac.compare_digest(expected, f"{user}\0{password}".encode("utf-8", "surrogatepass"))


def store_credentials(directory: Path) -> Credentials:
    """Those of the store in `directory`, made up on the first call. Safe when several processes call it at once.

    Raises `OSError` when the file can neither be read nor made, `msgspec.DecodeError` when it is damaged.
    """
    path = directory / FILE_NAME
    with contextlib.suppress(FileNotFoundError):
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Credentials(
        writer=Login("penstock", secrets.token_urlsafe(24)), reader=Login("reader", secrets.token_urlsafe(24))
    )
    new = directory / f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(made) + b"\n")
        # A link fails when the file exists by now, so all processes end up with the same one.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()
    return msgspec.json.decode(path.read_bytes(), type=Credentials)
