"""JSON text in and out, fast for what is well-formed and forgiving for what real servers send."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Unreadable(Exception):
    """The bytes are not JSON. The message never quotes them."""


class Unwritable(Exception):
    """The value has no JSON text: nested too deeply, or with a number that is too large."""


def read(data: bytes | str) -> Any:
    """The value of a JSON text. Raises `Unreadable`.

    What the strict parser refuses is tried once more with the standard library's: half surrogate pairs (a server that
    cuts an emoji between two chunks), bytes that are not UTF-8 and a byte order mark are then read, NaN is not.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig", "replace")
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not JSON") from error


def read_object(data: bytes | str | None) -> dict[str, Any]:
    """The object that `data` is the text of; empty for anything else."""
    if not data:
        return {}
    try:
        value = read(data)
    except Unreadable:
        return {}
    return value if isinstance(value, dict) else {}


def write(value: Any) -> str | None:
    """JSON text of a value that `read` gave, or was made of such; None when it cannot be written."""
    try:
        return encode(value).decode()
    except Unwritable:
        return None


def encode(value: Any) -> bytes:
    """The same as UTF-8. Raises `Unwritable`.

    Half surrogate pairs come out escaped, so that two halves which were joined are one character again.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        pass
    except (RecursionError, OverflowError, TypeError) as error:
        raise Unwritable(type(error).__name__) from error
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError, TypeError) as error:
        raise Unwritable(type(error).__name__) from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
