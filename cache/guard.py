"""What must be equal in two texts although their vectors are alike: numbers, names, negations, opposites, word order.

Mean vectors of words hardly see any of these: "do" and "do not", 14 and 15 days, dollars to euros and euros to dollars
lie closer together than many a paraphrase. Where the guard errs it refuses, which costs a call and no wrong answer.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from .telling_words import NEGATIONS, SINGULARS, TELLING

_CJK: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_QUOTED: Final = re.compile(r"`([^`]+)`|\"([^\"]+)\"|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»")
_NUMBER: Final = re.compile(r"\d+(?:[.,:/-]\d+)*")
_GROUPED: Final = re.compile(r"\d{1,3}(?:,\d{3})+")
_SIGN: Final = re.compile(r"(?<!\w)[-−](?=\s*\d)|[%$€£¥°<>=+*/^&|@#\\~§]")
_TOKEN: Final = re.compile(r"\S+")
_CODE: Final = re.compile(r"\w[._/\\:@+#-]+\w|\w[+#]+|[/\\~]\w|[a-z][A-Z]|_|\d")
_SENTENCE_END: Final = (".", "!", "?", ":", "。", "！", "？", "\n")


class Marks(NamedTuple):
    """What of a text must be equal, as digests of 8 bytes: nothing of the text can be read from them."""

    exact: bytes
    """Numbers, signs, negations, names, quotations and telling words, in their order."""
    words: bytes
    """All words, whatever their order."""
    order: bytes
    """All words in their order."""

    def may_match(self, words: bytes, order: bytes) -> bool:
        """False for the same words in another order. For texts whose `exact` is equal."""
        return self.words != words or self.order == order


def marks_of(text: str) -> Marks:
    """Of a text of a thousand characters or so."""
    words = _WORD.findall(text.casefold())
    return Marks(_digest(_exact(text, words)), _digest(sorted(words)), _digest(words))


def _exact(text: str, words: list[str]) -> list[str]:
    quoted = ["".join(groups) for groups in _QUOTED.findall(text)]
    ungrouped = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    telling = [SINGULARS.get(word, word) for word in words if word in TELLING]
    negations = sum(word in NEGATIONS for word in words)
    return [
        *quoted,
        "|numbers",
        *_NUMBER.findall(ungrouped),
        "|signs",
        *_SIGN.findall(text),
        "|telling",
        *telling,
        "|names",
        *_names(text),
        f"|{negations}",
    ]


def _names(text: str) -> list[str]:
    """What looks like a name or like code: capitals inside a sentence, all capitals, digits or signs within a word."""
    found = []
    first = True
    for token in _TOKEN.findall(text):
        bare = token.strip(".,;:!?()[]{}\"'`“”„«»…。，！？*")
        capital = (len(bare) > 1 and bare.isupper()) or (not first and bare[:1].isupper() and bare != "I")
        if (capital or _CODE.search(bare)) and not _NUMBER.fullmatch(bare):
            found.append(bare.removesuffix("'s").removesuffix("’s").casefold())
        first = token.endswith(_SENTENCE_END)
    return [name for name in found if not name.startswith(("i'", "i’"))]


def _digest(parts: list[str]) -> bytes:
    return hashlib.blake2b("\x00".join(parts).encode(), digest_size=8).digest()
