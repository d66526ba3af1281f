"""`prompt_cache_key`: what a provider routes calls by, so that equal beginnings meet where they were read before.

Chat completions and responses have the field, completions do not (types of OpenAI's SDK). A key made here is a hash in
35 characters: it names a session, a caller or a beginning without saying which.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec

from .document import Unreadable, read, write

Rule = Literal["off", "session", "key", "prefix"]

ENDPOINTS: Final = frozenset({"chat", "responses"})
_FIRST: Final = frozenset({"system", "developer"})
_HEX_DIGITS: Final = 32
_ABSENT: Final = (b"", b"null", b"[]", b'""')


class _Beginning(msgspec.Struct):
    """Where it stands. What is not part of it is never read."""

    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()


_decoder: Final = msgspec.json.Decoder(_Beginning)
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])


def session_key(session: str) -> str:
    """The key of a session; "" for a call without one."""
    return _hashed("session", session.encode("utf-8", "surrogatepass")) if session else ""


def caller_key(key_id: str, authorization: bytes) -> str:
    """The key of a caller, by the id of its Penstock key or else by its own upstream key; "" without either."""
    if key_id:
        return _hashed("key", key_id.encode())
    return _hashed("authorization", authorization) if authorization else ""


def prefix_key(body: bytes) -> str:
    """The key of what stands before everything that changes: the tools, and the instructions or the system and
    developer messages that come first. "" when there is nothing of that, or the body cannot be read.

    Equal for equal values, however they are written. A stored prompt stands for itself by its id and version. Later
    messages, whoever wrote them, and all other fields make no difference.
    """
    try:
        found = _decoder.decode(body)
        first = [*_leading(found.messages), *_leading(found.input)]
        static = [_value(found.tools), _value(found.instructions), _stored(_value(found.prompt)), first]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Unreadable):
        return ""
    text = write(static) if any(static) else None
    return _hashed("prefix", text.encode()) if text else ""


def _leading(messages: msgspec.Raw) -> list[Any]:
    """The system and developer messages at the beginning. A text in place of messages is the user's."""
    found: list[Any] = []
    if not bytes(messages).startswith(b"["):
        return found
    for raw in _list_decoder.decode(messages):
        message = read(bytes(raw))
        if not isinstance(message, dict) or message.get("role") not in _FIRST:
            break
        found.append(message)
    return found


def _value(raw: msgspec.Raw) -> Any:
    data = bytes(raw)
    return None if data in _ABSENT else read(data)


def _stored(prompt: Any) -> Any:
    """The part of a stored prompt that is the same in all calls: not its variables."""
    return [prompt.get("id"), prompt.get("version")] if isinstance(prompt, dict) else None


def _hashed(what: str, data: bytes) -> str:
    digest = hashlib.sha256(b"penstock " + what.encode() + b"\0" + data, usedforsecurity=False)
    return "ps-" + digest.hexdigest()[:_HEX_DIGITS]
