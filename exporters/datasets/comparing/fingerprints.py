"""What a conversation is recognised by when it comes again: a digest of its text, and a signature for what is alike.

The signature is a MinHash (Broder 1997) of the words in runs of `SHINGLE`; of two signatures, the share of values that
are equal estimates the Jaccard similarity of the conversations (standard error at most 0.044). System prompts are left
out of it: a template that all calls share would make all alike. Signs do not count, but where there is nothing else.

Runs of two, as measured on 200 pairs of chats each of 30, 80 and 230 words, at a similarity of 0.85: with one word of
the question replaced, 77, 100 and 100 of 100 are found (runs of three: 41, 99, 100; of five: 12, 91, 100); with a
greeting before it and thanks behind, 26, 99 and 100 (8, 97, 100; 0, 60, 100). Chats of the same question and another
answer, or the other way round, have a median of at most 0.56 with either, and none is taken for the same.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from ..example import Example, Message
from ..index import SIGNATURE, digest
from .grams import grams, words_of_each

SHINGLE: Final = 2
"""Words that are one element of the sets that are compared."""
_SEED: Final = 4100
_INSTRUCTIONS: Final = frozenset({"system", "developer"})
_PLAIN: Final = bytes(
    ord(" ") if chr(c).isspace() else ord(chr(c).lower()) if c < 128 else c  # as str.split and str.lower have it
    for c in range(128)
) + bytes(range(128, 256))
_encode = msgspec.json.Encoder(order="sorted").encode


def text_digest(text: str) -> int:
    """Eight bytes, not 0, of all that is `spoken` in an example: the same in every version.

    Case, blanks and the Unicode form of letters (NFKC) do not count.
    """
    if not text.isascii():
        folded = unicodedata.normalize("NFKC", text).casefold()
        text = " ".join(unicodedata.normalize("NFKC", folded).split())
    data = text.encode("utf-8", "surrogatepass").translate(_PLAIN)
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    found = hashlib.blake2b(data.strip(), digest_size=8).digest()
    return int.from_bytes(found, "little") or 1


def signatures(examples: Sequence[Example]) -> NDArray[np.uint32]:
    """The signature of each, of shape (examples, SIGNATURE): the same for the same conversation, whatever stands beside
    it, in every process and version.
    """
    turns = [[message for message in one.messages if message["role"] not in _INSTRUCTIONS] for one in examples]
    hashes, ends = words_of_each([spoken(some) for some in turns])
    sets: list[NDArray[np.uint64]] = []
    for some, its, example in zip(turns, np.split(hashes, ends[:-1]), examples, strict=True):
        # Who speaks is a word of each turn, so that the shortest message has neighbours. Here nobody says another.
        is_wordless = len(its) <= len(some)
        sets.append(
            np.array([text_digest(spoken(example.messages))], np.uint64) if is_wordless else grams(its, SHINGLE)
        )
    offsets = [0, *accumulate(map(len, sets))]
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(sets), offsets, SIGNATURE, _SEED)
    return np.array(matrix.to_rows(), np.uint32)


def spoken(messages: Iterable[Message]) -> str:
    """Who says what, one message after the other, with the calls of tools; of an image or a file, a digest."""
    lines: list[str] = []
    for message in messages:
        lines.append(message["role"])
        content = message.get("content")
        if isinstance(content, str):
            lines.append(content)
        elif content:
            lines += map(_part, content)
        if message.get("tool_calls") or message.get("function_call") or message.get("refusal"):
            lines += _called(message)
    return "\n\x00\n".join(lines)


def _part(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    return f"{digest(_encode(part)):016x}"


def _called(message: Message) -> list[str]:
    found = [message["refusal"]] if isinstance(message.get("refusal"), str) else []
    for call in (*(message.get("tool_calls") or ()), {"function": message.get("function_call")}):
        function = (call.get("function") or call.get("custom")) if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments", function.get("input"))
            # The blanks that a writer of JSON leaves are no difference.
            found += [str(function.get("name")), "".join(str(arguments).split())]
    return found
