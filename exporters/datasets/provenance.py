"""For each line of a dataset where it came from; for each call that is not in it, why.

Most of it is known when a row is scanned and encoded there; what the choice adds is put between when it is written.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .example import Example
from .options import Split
from .reasons import Reason

SOURCES: Final = "sources.jsonl"
"""For each example: its split and line, the call it was made of, and, hashed, whose it is."""
LEFT_OUT: Final = "left-out.jsonl.zst"
"""Calls that could have been in it, and why they are not."""


class Origin(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of `sources.jsonl`."""

    split: Split
    line: int
    """In the split's file of every format."""
    request_id: str
    timestamp_ns: int
    preference: int = 0
    """The line in the split's file of preference pairs; 0: it is none."""
    person: str = ""
    """Of the user, as `forget` looks for it."""
    session: str = ""
    cluster: str = ""
    """Rows that are nearly the same share it."""
    tokens: int = 0
    model: str = ""
    prompt: str = ""
    label: str = ""
    turns: int = 1
    """Of the user."""
    tools: bool = False
    """The model could call some."""
    estimated: bool = False
    """Nobody counted its tokens."""
    output_tokens: int | None = None
    upstream: str = ""
    prompt_version: str = ""
    score: float | None = None
    tags: dict[str, str] = {}
    response_format: dict[str, Any] | None = None
    """Not in OpenAI's format, and needed to ask the same again."""


_encode: Final = msgspec.json.Encoder().encode
_NOWHERE: Final = _encode(Origin(split="train", line=0, request_id="", timestamp_ns=0))[:-1]
_REASONS: Final[dict[int, bytes]] = {reason: reason.name.lower().encode() for reason in Reason}


class Pieces(msgspec.Struct, array_like=True, gc=False):
    """What is known of a row before the choice, as pieces of JSON."""

    request_id: bytes
    whose: bytes
    """`,"person":"...","session":"..."`, as far as there are any."""
    timestamp_ns: int = 0
    about: bytes = b""
    """All fields of an `Origin` from `tokens` on, to its end."""


def pieces_of(example: Example) -> Pieces:
    """Of an example that may be written."""
    about = Origin(
        split="train",
        line=0,
        request_id="",
        timestamp_ns=0,
        tokens=example.tokens,
        model=example.model,
        prompt=example.prompt_name,
        label=example.label,
        turns=sum([message["role"] == "user" for message in example.messages]),
        tools=bool(example.tools),
        estimated=example.tokens_estimated,
        output_tokens=example.output_tokens,
        upstream=example.upstream,
        prompt_version=example.prompt_version,
        score=example.score,
        tags=example.tags,
        response_format=example.response_format,
    )
    return Pieces(
        _encode(example.request_id),
        whose(example.user, example.session),
        example.timestamp_ns,
        _encode(about)[len(_NOWHERE) :],
    )


def pieces_of_left_out(example: Example) -> Pieces:
    """Of an example that will not be written."""
    return Pieces(_encode(example.request_id), whose(example.user, example.session))


def whose(person: str, session: str) -> bytes:
    """Both hashed, or ""."""
    found = f',"person":"{person}"' if person else ""
    return (f'{found},"session":"{session}"' if session else found).encode()


def source_line(row: Pieces, split: Split, line: int, preference: int, cluster: str) -> bytes:
    """An `Origin` as JSON, with the end of its line."""
    paired = b',"preference":%d' % preference if preference else b""
    near = b',"cluster":"%b"' % cluster.encode() if cluster else b""
    return b'{"split":"%b","line":%d,"request_id":%b,"timestamp_ns":%d%b%b%b%b\n' % (
        split.encode(), line, row.request_id, row.timestamp_ns, paired, row.whose, near, row.about,
    )  # fmt: skip


def excuse_line(row: Pieces, reason: int, cluster: str) -> bytes:
    """Of a call that is left out for a `Reason`: its request id, the reason, its cluster and whose it is."""
    near = b',"cluster":"%b"' % cluster.encode() if cluster else b""
    return b'{"request_id":%b,"reason":"%b"%b%b}\n' % (row.request_id, _REASONS[reason], near, row.whose)
