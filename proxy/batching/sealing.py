"""The callers' keys in the queue: sealed, under a hash, and only as long as an item or a batch needs them."""

from __future__ import annotations

import hashlib
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from sqlalchemy import Connection, delete, exists, insert, select, text

from ..reply import RawHeaders
from ..settings import Settings
from .refusal import QueueUnavailable
from .tables import batches, credentials, items

CREDENTIAL_HEADERS: Final = frozenset(
    {b"authorization", b"api-key", b"x-api-key", b"openai-organization", b"openai-project"}
)
"""What says at the upstream who is asking, and who pays."""

_SALT: Final = b"penstock batch queue"


class Unsealable(Exception):
    """Sealed with another secret, or damaged."""


class Sealer:
    """Authenticated encryption (Fernet: AES-128-CBC and HMAC-SHA256). Two seals of one thing differ."""

    def __init__(self, key: bytes) -> None:
        """`key` is 32 bytes in URL-safe base64. Raises `ValueError` for any other."""
        self._fernet = Fernet(key)

    @classmethod
    def of(cls, settings: Settings) -> Sealer:
        """With `batch.secret`, or with a key of its own in the data directory, which is made when there is none.

        Raises `QueueUnavailable` when that file cannot be used. Takes about 50 ms with `batch.secret`.
        """
        if settings.batch.secret:
            # Slow on purpose: it may be a passphrase. The salt is fixed, as all who share the queue must agree.
            derived = Scrypt(salt=_SALT, length=32, n=2**14, r=8, p=1).derive(settings.batch.secret.encode())
            return cls(urlsafe_b64encode(derived))
        path = Path(settings.server.data_dir) / "batch" / "secret.key"
        try:
            return cls(kept(path, Fernet.generate_key()))
        except OSError as error:
            raise QueueUnavailable(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise QueueUnavailable(f"{path} is not a key; remove it to have a new one") from error

    def seal(self, data: bytes) -> bytes:
        return self._fernet.encrypt(data)

    def open(self, sealed: bytes) -> bytes:
        """Raises `Unsealable`."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise Unsealable("A key in the queue was sealed with another batch.secret.") from error


def kept(path: Path, new: bytes) -> bytes:
    """What the file at `path` holds; `new`, when it is only now made. The same for all who ask at once.

    Readable by its owner alone. Raises `OSError`.
    """
    with suppress(FileNotFoundError):
        return path.read_bytes().strip()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(new + b"\n")
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return path.read_bytes().strip()


def encode_credential(headers: RawHeaders) -> bytes:
    """The headers among them by which the upstream knows the caller; b"" when there are none."""
    found = sorted((name.lower(), value) for name, value in headers if name.lower() in CREDENTIAL_HEADERS)
    return msgspec.msgpack.encode(found) if found else b""


def decode_credential(data: bytes) -> RawHeaders:
    """Raises `msgspec.DecodeError`."""
    return _headers.decode(data)


def credential_id(data: bytes) -> str:
    """`credentials.id` of what `encode_credential` gave; "" of nothing."""
    return hashlib.sha256(data).hexdigest() if data else ""


def keep(connection: Connection, sealed: Mapping[str, bytes], now_ns: int) -> None:
    """Have these credentials in the queue, sealed, by their ids."""
    known = set(connection.scalars(select(credentials.c.id).where(credentials.c.id.in_(sealed))))
    new = [{"id": name, "sealed": data, "created_ns": now_ns} for name, data in sealed.items() if name not in known]
    if new:
        connection.execute(insert(credentials), new)


def opened(connection: Connection, name: str, sealer: Sealer) -> RawHeaders:
    """The caller's headers, by `credentials.id`. Raises `Unsealable`, also when there are none any more."""
    sealed = connection.scalar(select(credentials.c.sealed).where(credentials.c.id == name))
    if sealed is None:
        raise Unsealable("The key of this call is not in the queue any more.")
    return decode_credential(sealer.open(sealed))


def drop_unused(connection: Connection, ids: Iterable[str] | None = None) -> None:
    """Remove credentials that no item and no batch names any more; None: of all that there are."""
    used = exists().where((items.c.credential == credentials.c.id) & text("items.credential != ''"))
    used_by_batch = exists().where(batches.c.credential == credentials.c.id)
    unused = delete(credentials).where(~used & ~used_by_batch)
    connection.execute(unused if ids is None else unused.where(credentials.c.id.in_(list(ids))))


_headers = msgspec.msgpack.Decoder(RawHeaders)
