"""Prune: find what the prompts of a dataset all begin with, which a tuned model need not be told, and cut it off.

A text is found where it ends with a line or a sentence and every example of its template begins with it. What differs
between examples (a name, a date, a plan) ends it: what comes behind stays, though it may be the same everywhere, since
whoever serves the model applies the same cut, which knows beginnings alone. Templates that begin alike are told from
one template with a variable by what follows: behind a variable the same text goes on.

Candidates are looked for in a sample; how many examples begin with each is counted over all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ..describing.manifest import Manifest, read
from ..errors import DatasetError
from ..example import Example
from ..formats.messages import INSTRUCTIONS, beginning
from ..index import digest
from ..options import Write
from ..progress import Progress
from ..provenance import Origin
from .rewriting import read_back, rewrite

SAMPLE: Final = 5000
CHARACTERS_MAX: Final = 32_768
"""Of a prompt that are looked at."""
CHARACTERS_MIN: Final = 40
"""A shorter text is not worth a rule."""
SHARE_MIN: Final = 0.02
"""Of all examples; what is rarer is not reported."""
TEXTS_MAX: Final = 50

Role = Literal["system", "user"]
Count = Callable[[str], int]
"""Tokens of a text."""
Group = list[tuple[list[str], int]]
"""Texts in their units, and how often each occurs."""


@dataclass(slots=True)
class Beginning:
    """A text that many prompts begin with."""

    role: Role
    text: str
    tokens: int
    """Saved with each call."""
    prompt: str = ""
    """The name of the template, where the calls said it."""
    examples: int = 0
    """That begin with it."""
    models: Counter[str] = field(default_factory=Counter)
    """By the model that answered them."""


@dataclass(slots=True)
class Found:
    examples: int
    """Of the dataset."""
    beginnings: list[Beginning]
    """The longest of each role first: the first that fits is the one that is cut."""

    def shared_by(self, share: float) -> list[Beginning]:
        """Those that at least so much of all examples begin with."""
        return [one for one in self.beginnings if one.examples >= share * self.examples]


def find(folder: Path, count: Count, progress: Progress) -> Found:
    """Raises `DatasetError`: it cannot be read back, or is pruned already."""
    manifest = read(folder)
    if manifest.options.write.prune or manifest.options.write.prune_user:
        raise DatasetError(f"{manifest.name} is pruned already. Prune the dataset that it was made of.")
    system: dict[str, Counter[str]] = {}
    user: Counter[str] = Counter()
    progress.phase("looking for templates", manifest.written)
    for origin, example in _sampled(read_back(folder), manifest.written, progress):
        if (text := _instruction(example)) is not None:
            template = f"{origin.prompt}@{origin.prompt_version}" if origin.prompt else ""
            system.setdefault(template, Counter())[text[:CHARACTERS_MAX]] += 1
        if (text := _only_question(example)) is not None:
            user[text[:CHARACTERS_MAX]] += 1
    sampled = sum(counts.total() for counts in system.values()) or user.total()
    least = max(2.0, SHARE_MIN * min(SAMPLE, max(manifest.written, sampled)))
    candidates = [("system", template, text) for template in sorted(system) for text in static(system[template], least)]
    candidates += [("user", "", text) for text in static(user, least)]
    beginnings: dict[tuple[str, str], Beginning] = {}
    for role, template, text in candidates:
        beginnings.setdefault((role, text), Beginning(role, text, count(text), template))  # type: ignore[arg-type]
    found = sorted(beginnings.values(), key=lambda one: (one.role, -len(one.text), one.text))[:TEXTS_MAX]
    _count(found, folder, manifest.written, progress)
    return Found(manifest.written, [one for one in found if one.examples >= SHARE_MIN * manifest.written])


def write_options(write: Write, beginnings: Iterable[Beginning]) -> Write:
    """With the beginnings as the texts to cut."""
    ordered = sorted(beginnings, key=lambda one: (-len(one.text), one.text))
    return msgspec.structs.replace(
        write,
        prune=tuple(one.text for one in ordered if one.role == "system"),
        prune_user=tuple(one.text for one in ordered if one.role == "user"),
    )


def apply(folder: Path, root: Path, name: str, beginnings: list[Beginning], progress: Progress) -> Manifest:
    """Make `root/name` without these beginnings. The rule is in its options, `write.prune` and `write.prune_user`.

    Raises `DatasetError`: there is nothing to cut, the name is taken, the disk is full.
    """
    if not beginnings:
        raise DatasetError("There is nothing to cut: no text is shared by so many examples. Lower --min-share.")
    manifest = read(folder)
    write = write_options(manifest.options.write, beginnings)
    saved: Counter[str] = Counter()
    tokens = {(one.role, one.text): one.tokens for one in beginnings}

    def change(origin: Origin, example: Example) -> Example:
        less = sum(tokens[cut] for cut in cuts(example, write))
        saved["examples"] += bool(less)
        saved["tokens"] += less
        # The messages are cut as they are written.
        return msgspec.structs.replace(example, tokens=max(1, example.tokens - less)) if less else example

    def deed() -> dict[str, Any]:
        texts = {"texts": len(write.prune) + len(write.prune_user), "rule": "options.write.prune and .prune_user"}
        return {
            "action": "prune",
            "of": manifest.name,
            **texts,
            "examples": saved["examples"],
            "tokens_saved": saved["tokens"],
        }

    return rewrite(folder, root, name, change, deed, progress, write)


def cuts(example: Example, write: Write) -> Iterator[tuple[Role, str]]:
    """What is cut from an example when it is written."""
    for message in example.messages:
        content = message.get("content")
        if message["role"] in INSTRUCTIONS and isinstance(content, str) and (cut := beginning(content, write.prune)):
            yield "system", cut
    question = _only_question(example)
    if question is not None and (cut := beginning(question, write.prune_user)) and question[len(cut) :].strip():
        yield "user", cut


def static(texts: Counter[str], least: float) -> Iterator[str]:
    """The beginnings that at least `least` of the texts have and none of them varies, as far as it is worth it."""
    split = [(units(text), times) for text, times in sorted(texts.items())]
    waiting = [(split, 0)]
    while waiting:
        group, depth = waiting.pop()
        while True:
            by_next: dict[str | None, Group] = {}
            for one in group:
                by_next.setdefault(one[0][depth] if depth < len(one[0]) else None, []).append(one)
            if len(by_next) != 1 or None in by_next:
                break
            depth += 1
        if _size(group) < least:
            continue
        if len(text := "".join(group[0][0][:depth])) >= CHARACTERS_MIN:
            yield text
        for unit, branch in by_next.items():
            others = [one for name, found in by_next.items() if name != unit for one in found]
            if unit is not None and _size(branch) >= least and _is_template(branch, others, depth):
                waiting.append((branch, depth + 1))


def _size(group: Group) -> int:
    return sum(times for _, times in group)


def _is_template(branch: Group, others: Group, depth: int) -> bool:
    """Whether what follows in `branch` is its own. If the others go on in the same way, its unit is a variable's
    value, and so it is when nothing follows, but for the very first unit."""
    following: Counter[str] = Counter()
    for found, times in branch:
        for unit in set(found[depth + 1 :]):
            following[unit] += times
    own = [unit for unit, times in following.items() if times >= _size(branch) / 2]
    if not own:
        return depth == 0
    same = sum(times * len({*found[depth + 1 :]}.intersection(own)) for found, times in others)
    return same < _size(others) * len(own) / 2


_boundaries = re.compile(
    r"""(?: (?<=\w\w\w) [.!?]+ ["')\]*`]* | (?<=["')\]]) [.!?] ) (?= \s+[^\sa-z] | \s*\Z ) | (?=\n)""", re.VERBOSE
)
_ABBREVIATED: Final = ("etc.", "Inc.", "Ltd.", "Corp.", "Mrs.", "Prof.", "Sgt.", "Ave.", "dept.", "approx.")


def units(text: str) -> list[str]:
    """Sentences and lines, each with the blanks before it; joined they are the text, less blanks at its end."""
    text = text.rstrip()
    found, begin = [], 0
    for boundary in _boundaries.finditer(text):
        end = boundary.end()
        piece = text[begin:end]
        if piece.strip() and not piece.endswith(_ABBREVIATED):
            found.append(piece)
            begin = end
    return [*found, text[begin:]] if begin < len(text) else found


def _instruction(example: Example) -> str | None:
    for message in example.messages:
        if message["role"] in INSTRUCTIONS:
            content = message.get("content")
            return content if isinstance(content, str) and content else None
    return None


def _only_question(example: Example) -> str | None:
    """Of several turns of the user the first may be examples of how to answer, which are not to be touched."""
    asked = [message for message in example.messages if message["role"] == "user"]
    content = asked[0].get("content") if len(asked) == 1 else None
    return content if isinstance(content, str) and content else None


def _sampled(
    pairs: Iterable[tuple[Origin, Example]], total: int, progress: Progress
) -> Iterator[tuple[Origin, Example]]:
    """About `SAMPLE` of them, always the same."""
    limit = 2**64 if total <= SAMPLE else 2**64 * SAMPLE // total
    for origin, example in pairs:
        progress.advance()
        if digest("prune", origin.request_id) < limit:
            yield origin, example


def _count(beginnings: list[Beginning], folder: Path, total: int, progress: Progress) -> None:
    if not beginnings:
        return
    progress.phase("counting", total)
    for _, example in read_back(folder):
        progress.advance()
        texts = {"system": _instruction(example) or "", "user": _only_question(example) or ""}
        for one in beginnings:
            text = texts[one.role]
            if beginning(text, (one.text,)) and (one.role == "system" or text[len(one.text) :].strip()):
                one.examples += 1
                one.models[example.model] += 1
