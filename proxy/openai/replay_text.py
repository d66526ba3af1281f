"""Where a whole text is cut when it is told as a stream: between words, or between the tokens it came in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

PIECE_CHARS: Final = 32
"""About the length of a piece: a few words, so that a paced replay looks alive and an event is worth its bytes."""
PIECES_MAX: Final = 512
"""Longer texts have longer pieces instead of more."""


def pieces(text: str) -> list[str]:
    """`text` in pieces that begin with the space between two words; in equal ones where there are no spaces."""
    return _cutter(_chars(len(text)))(text)


def spans(tokens: Sequence[Any], text: str) -> list[tuple[int, int]]:
    """Runs of tokens about as long as a piece: where each begins and ends. Empty when `tokens` do not spell `text`."""
    if not tokens or not all(isinstance(token, str) for token in tokens) or "".join(tokens) != text:
        return []
    enough = _chars(len(text)) * 3 // 4
    found: list[tuple[int, int]] = []
    start = length = 0
    for end, token in enumerate(tokens, 1):
        length += len(token)
        if length >= enough or end == len(tokens):
            found.append((start, end))
            start, length = end, 0
    return found


def _chars(length: int) -> int:
    """Doubled until a text has at most about `PIECES_MAX` pieces, so that few different patterns are needed."""
    chars = PIECE_CHARS
    while length > chars * PIECES_MAX:
        chars *= 2
    return chars


@cache
def _cutter(chars: int) -> Callable[[str], list[str]]:
    return re.compile(rf"(?s).{{1,{chars}}}(?=\s|\Z)|.{{1,{chars}}}").findall
