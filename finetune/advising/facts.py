"""What the answers say that nothing told them: it can come from knowledge alone, not from skill."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final, Literal

import msgspec

from .features import WORDS_MAX
from .rows import Row

Kind = Literal["number", "name", "word"]
LETTERS_MIN: Final = 4
"""Of a word that is not a name: shorter ones hold sentences together."""

# `1,200`, `12:30` and `X-200` are one.
_tokens = re.compile(r"\w+(?:[.,:'’-]\w+)*")
_digit = re.compile(r"\d")
_begins_a_sentence = re.compile(r"(?:^|[.!?:;\n\"“”‘’«»(\[{*#>•|])\s*(?:[-–—]\s*)?\Z")


class NewFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Telling words of an answer are its numbers (with a digit), its names (with a capital inside a sentence) and other
    words of 4 letters or more, each counted once an answer. One is new when it is neither in the prompt nor in the
    answer to any other prompt."""

    share: float
    """Of all telling words, those that are new."""
    numbers: float
    """New ones in an answer, on average."""
    names: float
    words: float

    @property
    def facts(self) -> float:
        """New numbers and names in an answer, on average."""
        return self.numbers + self.names


def new_facts(rows: Sequence[Row]) -> NewFacts:
    """In languages that write nouns with capitals, nouns count as names; where there are no capitals there are none."""
    answers: Counter[str] = Counter()
    told = []
    for row in rows:
        found = telling(row.answer)
        told.append(found)
        answers.update(found.keys())
    new: Counter[Kind] = Counter()
    for row, found in zip(rows, told, strict=True):
        alone = [word for word in found if answers[word] == 1]
        if alone:
            prompt = set(_tokens.findall(f"{row.prompt}\n{row.tools}".casefold()))
            new.update(found[word] for word in alone if word not in prompt)
    in_all = sum(map(len, told))
    return NewFacts(
        share=new.total() / in_all if in_all else 0.0,
        **{f"{kind}s": new[kind] / max(1, len(rows)) for kind in ("number", "name", "word")},
    )


def telling(text: str) -> dict[str, Kind]:
    """The telling words, case folded, each with what it is at its first place."""
    found: dict[str, Kind] = {}
    for match in islice(_tokens.finditer(text), 2 * WORDS_MAX):
        token = match.group()
        if not token.isalpha() and _digit.search(token):
            kind: Kind = "number"
        elif token[0].isupper() and len(token) > 1 and not _begins_a_sentence.search(*_before(text, match.start())):
            kind = "name"
        elif len(token) >= LETTERS_MIN:
            kind = "word"
        else:
            continue
        found.setdefault(token.casefold(), kind)
    return found


def _before(text: str, place: int) -> tuple[str, int, int]:
    return text, max(0, place - 8), place
