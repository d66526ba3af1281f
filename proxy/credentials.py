"""Secrets by reference, and the keys that callers may present. No secret is ever in a message raised here."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

_SHA256: Final = re.compile(r"sha256:([0-9a-fA-F]{64})\Z")
_REFERENCE: Final = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)\Z", re.DOTALL)
_SECRET_BYTES_MAX: Final = 65536


class SecretMissing(Exception):
    """A reference leads nowhere. The message says which one and what to do, without a path's or variable's content."""


def is_reference(text: str) -> bool:
    """Whether `text` is `env:NAME` or `file:PATH`."""
    return _REFERENCE.match(text) is not None


def is_key_hash(text: str) -> bool:
    """Whether `text` is `sha256:` and 64 hexadecimal digits."""
    return _SHA256.match(text) is not None


def resolve_secret(reference: str, environ: Mapping[str, str], folder: Path = Path()) -> str:
    """The secret that `env:NAME` or `file:PATH` leads to, a file's without its last line end.

    Relative paths start at `folder`. Raises `SecretMissing` when there is none, or nothing in it.
    """
    kind, _, name = reference.partition(":")
    if not is_reference(reference):
        raise SecretMissing("a secret is written as env:NAME or file:PATH")
    if kind == "env":
        if name not in environ:
            raise SecretMissing(f"the environment variable {name} is not set")
        secret, origin = environ[name], f"the environment variable {name}"
    else:
        path = folder / Path(name).expanduser()
        secret, origin = _read(path), f"the file {path}"
    if not secret.strip():
        raise SecretMissing(f"{origin} is empty")
    if "\n" in secret or "\r" in secret or "\0" in secret:
        raise SecretMissing(f"{origin} holds more than one line")
    return secret


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_SECRET_BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise SecretMissing(f"the file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SecretMissing(f"the file {path} is not text") from error
    if len(data) > _SECRET_BYTES_MAX:
        raise SecretMissing(f"the file {path} is too large for a secret")
    return text.removesuffix("\n").removesuffix("\r")


def hash_key(key: str) -> str:
    """`sha256:HEX`, the form in which an accepted key can be written down."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The accepted proxy keys, by their SHA-256 alone. `ids` maps a hash to the key's id, its first 8 digits."""

    __slots__ = ("_digests", "ids")

    def __init__(self, hashes: Iterable[str]) -> None:
        """`hashes` are 64 hexadecimal digits each."""
        self.ids: Mapping[str, str] = MappingProxyType({digest.lower(): digest[:8].lower() for digest in hashes})
        self._digests = tuple(bytes.fromhex(digest) for digest in self.ids)

    @classmethod
    def of(cls, keys: Iterable[str]) -> KeyRing:
        """From `server.keys` as `load` gives them, each `sha256:HEX`. Raises `ValueError` for any other form."""
        found = [(_SHA256.match(key)) for key in keys]
        if not all(found):
            raise ValueError("a key that is not hashed; the settings must come from `load`")
        return cls(match[1] for match in found if match is not None)

    def __len__(self) -> int:
        return len(self._digests)

    def key_id(self, key: str) -> str | None:
        """The id of an accepted key, None for any other text. Takes the same time for any text of a length."""
        presented = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = None
        for digest in self._digests:
            if hmac.compare_digest(digest, presented):
                found = digest
        return None if found is None else self.ids[found.hex()]
