"""How like an answer's words are to those of the reference: exactly, by word, in order, and by label."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

WORDS_MAX: Final = 2000
"""Of one text, for ROUGE-L, whose time is their product: about a second and a half for two such texts."""
LABELS_MAX: Final = 20
_LABEL_WORDS_MAX: Final = 5
_REPEATS_MIN: Final = 3
"""How often a label must be met on average before answers are taken for labels."""
_EDGES: Final = " \t\r\n.,;:!?\"'`“”‘’«»*"
_IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_MARKS: Final = "".join(char for char in map(chr, range(0x300, 0x20000)) if unicodedata.category(char)[0] == "M")
"""What stands above, below or beside a letter: vowels of Hindi and Thai, points of Arabic and Hebrew."""
_LETTER: Final = rf"[^\W_{_IDEOGRAPHS}]"
_words = re.compile(rf"[{_IDEOGRAPHS}]|{_LETTER}(?:{_LETTER}|[{_MARKS}])*").findall


def words(text: str) -> list[str]:
    """Of any language: letters and digits that stand together, without case; each ideograph is one."""
    return _words(unicodedata.normalize("NFKC", text).casefold())


def normalised(text: str) -> str:
    """Without case, Unicode form, runs of blanks, and punctuation at both ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_EDGES)


def exact_match(answer: str, reference: str) -> bool:
    """The same but for what `normalised` leaves out."""
    return normalised(answer) == normalised(reference)


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words that both have, however they are ordered.

    As in SQuAD's evaluation (Rajpurkar et al. 2016, arXiv:1606.05250) but for articles, which count: other languages
    have none, and "A" may be an answer.
    """
    said, wanted = Counter(words(answer)), Counter(words(reference))
    if not said or not wanted:
        return float(said == wanted and exact_match(answer, reference))
    return 2 * (said & wanted).total() / (said.total() + wanted.total())


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004), by the package `rouge-score`, with our words: its own
    know no letter beyond a to z."""
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def detected_labels(references: Sequence[str]) -> tuple[str, ...]:
    """The labels that all references are, when they are few, short and each met often; else none."""
    met = Counter(map(normalised, references))
    if not 2 <= len(met) <= LABELS_MAX or "" in met or met.total() < _REPEATS_MIN * len(met):
        return ()
    return tuple(sorted(met)) if all(len(words(one)) <= _LABEL_WORDS_MAX for one in met) else ()


def label_of(answer: str, labels: Iterable[str]) -> str:
    """The one of `labels`, normalised, that the answer is, else the only one that it mentions; "" when there is none.

    A label within a longer one that is mentioned too, as "refund" in "refund request", does not count.
    """
    labels = {normalised(label) for label in labels}
    if (whole := normalised(answer)) in labels:
        return whole
    said = f" {' '.join(words(answer))} "
    met = {label: f" {' '.join(words(label))} " for label in labels}
    found = [label for label, text in met.items() if text.strip() and text in said]
    longest = [one for one in found if not any(one != other and met[one] in met[other] for other in found)]
    return longest[0] if len(longest) == 1 else ""


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return words(text)[:WORDS_MAX]

    return RougeScorer(["rougeL"], tokenizer=Words())
