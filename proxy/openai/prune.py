"""Cut off a call what its model was trained without, by the rule that datasets are pruned by."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from exporters.datasets.formats.messages import pruned

from .call import Endpoint
from .document import Unreadable, Unwritable, encode, read
from .rewrite import replace_member

_TURNS: Final[dict[str, str]] = {"chat": "messages", "responses": "input"}
_TEXT_PARTS: Final = frozenset({"text", "input_text"})
_INSTRUCTIONS: Final = -1
"""The place of what stands before all turns."""


class Pruned(NamedTuple):
    body: bytes
    cut: str = ""
    """What it had and has no more; "" when it is as it was."""


class _Body(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()


_body: Final = msgspec.json.Decoder(_Body)
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


def prune(endpoint: Endpoint, body: bytes, texts: tuple[str, ...], user_texts: tuple[str, ...]) -> Pruned:
    """`body` without the first of `texts` that an instruction begins with; every turn that loses nothing stays as it
    was written. `body` itself when nothing is to be cut, or it cannot be done safely.

    Instructions are system and developer messages of chats and responses, and the `instructions` of responses; one
    that was nothing else is gone. Texts are plain ones, or the only part of a message. Likewise `user_texts` and the
    user's turn, where it is the only one.
    """
    if endpoint not in _TURNS:
        return Pruned(body)
    try:
        return _pruned(_TURNS[endpoint], body, texts, user_texts) or Pruned(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Unreadable, Unwritable):
        return Pruned(body)


def _pruned(name: str, body: bytes, texts: tuple[str, ...], user_texts: tuple[str, ...]) -> Pruned | None:
    """None when nothing is to be cut."""
    found = _body.decode(body)
    whole: msgspec.Raw = getattr(found, name)
    turns = _list.decode(whole) if bytes(whole).startswith(b"[") else []
    said = [{"place": place, **turn} for place, raw in enumerate(turns) if (turn := _said(read(bytes(raw))))]
    if bytes(found.instructions).startswith(b'"'):
        said.insert(0, {"place": _INSTRUCTIONS, "role": "system", "content": read(bytes(found.instructions))})
    if bytes(whole).startswith(b'"'):
        said.append({"place": None, "role": "user", "content": read(bytes(whole))})
    left = {turn["place"]: turn["content"] for turn in pruned(said, texts, user_texts)}
    changed = {turn["place"]: turn["content"] for turn in said if left.get(turn["place"]) != turn["content"]}
    if not changed or not left:
        return None
    cut = "".join(text[: len(text) - len(left.get(place) or "")] for place, text in changed.items())
    written = _written(name, body, found, turns, {place: left.get(place) for place in changed})
    return Pruned(written, cut) if written is not None else None


def _written(
    name: str, body: bytes, found: _Body, turns: list[msgspec.Raw], left: dict[Any, str | None]
) -> bytes | None:
    """`body` with what is left of the texts at these places; None where it cannot be put there."""
    whole: msgspec.Raw = getattr(found, name)
    changed: bytes | None = body
    if _INSTRUCTIONS in left:
        changed = replace_member(body, "instructions", found.instructions, encode(left.pop(_INSTRUCTIONS)))
    if None in left:
        return changed and replace_member(changed, name, whole, encode(left[None]))
    if not left or changed is None:
        return changed
    kept = [bytes(raw) if place not in left else _with(raw, left[place]) for place, raw in enumerate(turns)]
    return replace_member(changed, name, whole, b"[" + b",".join(filter(None, kept)) + b"]")


def _said(turn: Any) -> dict[str, Any] | None:
    """Role and text of a turn; the text is None where it is not a single one. None for what nobody says."""
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        return None
    content = turn.get("content")
    part = _only_part(content)
    text = content if isinstance(content, str) else part["text"] if part else None
    return {"role": turn["role"], "content": text}


def _only_part(content: Any) -> dict[str, Any] | None:
    """The part of a content that is one part, of text."""
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        return None
    part = content[0]
    return part if part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str) else None


def _with(raw: msgspec.Raw, text: str | None) -> bytes:
    """The turn with `text` in its place; nothing for None."""
    if text is None:
        return b""
    turn = read(bytes(raw))
    part = _only_part(turn["content"])
    if part is None:
        turn["content"] = text
    else:
        part["text"] = text
    return encode(turn)
