"""Which conversations are the beginning of which: each call of a chat holds all turns before it.

A conversation is hashed turn by turn. `whole` names it with its answer; its `prefixes` name every beginning that ends
with an earlier answer of the assistant. A call whose `whole` is among the prefixes of another is contained in it. What
clients change when they send an answer back (blanks around it, ids, the spelling of arguments) does not count, nor do
system prompts within a session, which may carry the time of day.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ..example import Example, Message, text_of

_INSTRUCTIONS = frozenset({"system", "developer"})


class Chain(NamedTuple):
    whole: bytes
    """Eight bytes, as are all names here."""
    prefixes: list[bytes]
    root: bytes
    """Of the first turn."""
    template: bytes
    """Of the instructions."""


def chain(example: Example) -> Chain:
    """The names of a conversation and of its beginnings. Where the answer was corrected, that of what was said."""
    messages: Sequence[Message] = example.messages
    if example.rejected:
        messages = [*messages[:-1], *example.rejected]
    instructions: list[bytes] = []
    root: bytes | None = None
    turns: list[str] = []
    # What is said from one answer of the assistant to the next.
    spans: list[str] = []
    for message in messages:
        role, said = message["role"], message.get("content")
        said = said.strip() if said.__class__ is str and "tool_calls" not in message else _said(message)
        if role in _INSTRUCTIONS:
            instructions.append(_bytes(said))
            continue
        turns.append(f"{role}:{len(said)}:{said}")
        if root is None:
            root = _named(b"root", _bytes(said))
        if role == "assistant":
            spans.append("".join(turns))
            turns = []
    template = _named(b"template", *instructions) if instructions else _NONE
    prompt = _named(b"prompt", _bytes(example.prompt_name)) if example.prompt_name else template
    # One hash that goes on over the turns: its digest after an answer names the conversation up to there.
    state = hashlib.blake2b(_belongs(example, template), digest_size=8)
    prefixes: list[bytes] = []
    for span in spans or ["".join(turns)]:
        state.update(span.encode("utf-8", "surrogatepass"))
        prefixes.append(state.digest())
    whole = prefixes.pop()
    return Chain(whole, prefixes, root or _NONE, prompt)


def _belongs(example: Example, template: bytes) -> bytes:
    kind, name = ("session", example.session) if example.session else ("user", example.user)
    return _bytes(f"{kind}:{len(name)}:{name}") + (b"" if example.session else template)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_NONE = bytes(8)


def _named(*parts: bytes) -> bytes:
    """Eight bytes over the parts, whose lengths matter."""
    if len(parts) == 2:  # as it is nearly always
        one, other = parts
        data = b"%d:%d:%b%b" % (len(one), len(other), one, other)
    else:
        data = b"".join((b"%d:" * len(parts) % tuple(map(len, parts)), *parts))
    return hashlib.blake2b(data, digest_size=8).digest()


def _said(message: Message) -> str:
    """Of a message that is not one text alone."""
    content = message.get("content")
    calls = message.get("tool_calls")
    said = [text_of(message).strip()]
    for call in calls or ():
        function = (call.get("function") or call.get("custom") or {}) if isinstance(call, dict) else {}
        said += [str(function.get("name")), _canonical(function.get("arguments", function.get("input")))]
    if isinstance(content, list):
        said += [json.dumps(part, sort_keys=True) for part in content if not _is_text(part)]
    # Of one text alone, what a plain message of it would have.
    return said[0] if len(said) == 1 else json.dumps(said)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _canonical(arguments: Any) -> str:
    """Arguments without the blanks and the order of their writer, as far as they are JSON."""
    if not isinstance(arguments, str):
        return json.dumps(arguments, sort_keys=True)
    return (_short if len(arguments) <= _SHORT else _rewritten)(arguments)


def _rewritten(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments.strip()


_SHORT: Final = 1000
_short: Final = lru_cache(1024)(_rewritten)
"""A call is said again in all that come after it."""
