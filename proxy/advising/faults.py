"""What is wrong with the prompts of an application, and the same prompts with it put right."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .kinds import Kind, Sample, classify
from .layout import START, VALUE_CHARACTERS, VALUES_MAX, Layout, Mark, Slot, last_static, marks_of
from .prompts import HEAD, SCHEMA, TOOL, Call, Pieces, common_prefix

AFFECTED_SHARE: Final = 0.05
"""Of the calls; what happens less often is not looked into."""
FOLLOWING_TOKENS: Final = 64
"""Static tokens behind a place, on average; with fewer there is nothing to win."""
SLOTS_MAX: Final = 6
EXAMPLE_CHARACTERS: Final = 160


@dataclass(frozen=True, slots=True)
class Example:
    """The text of one call around the place: what varies, and what stands before and behind it."""

    request_id: str
    before: str
    varies: str
    behind: str


@dataclass(frozen=True, slots=True)
class Fault:
    kind: Kind
    change: frozenset[tuple[str, Mark]]
    """What `rewrite` does about it."""
    token: int
    """Tokens of the prompt before the place."""
    section: str
    """`tools`, `schema`, or the role of the message."""
    section_token: int
    """Tokens of that section before the place."""
    calls: int
    distinct: int
    """Different texts seen in the place."""
    certain: float
    examples: tuple[Example, ...]


_ANY: Final[Mark] = 0


def faults_of(layout: Layout) -> list[Fault]:
    """In the order of the prompt. Whether they cost anything is not asked here."""
    found = [*_wordings(layout), *_tool_set(layout), *_orders(layout), *_slots(layout)]
    return sorted(found, key=lambda fault: fault.token)


def rewrite(layout: Layout, call: Call, changes: Iterable[tuple[str, Mark]]) -> array[int]:
    """The prompt of `call` with the changes made: its own pieces, elsewhere or in the usual wording."""
    pieces, wanted = layout.pieces, frozenset(changes)
    marks = marks_of(call, pieces)
    end = last_static(marks, layout.usual)
    kept: list[tuple[int, Mark]] = []
    moved: list[int] = []
    after: Mark = START
    for number, mark in zip(call.numbers[: end + 1], marks[: end + 1], strict=True):
        if layout.is_static(mark):
            after = mark
            number = layout.usual[mark] if ("wording", mark) in wanted else number
        elif ("move", after) in wanted and mark not in layout.common:
            moved.append(number)
            continue
        kept.append((number, mark))
    if ("tools", _ANY) in wanted:
        kept = _with_tools(layout, kept, every=True)
    elif ("tool order", _ANY) in wanted:
        kept = _with_tools(layout, kept, every=False)
    if ("order", _ANY) in wanted:
        kept = _in_order(layout, kept)
    return array("q", [*(number for number, _ in kept), *moved, *call.numbers[end + 1 :]])


def _with_tools(layout: Layout, kept: list[tuple[int, Mark]], *, every: bool) -> list[tuple[int, Mark]]:
    roles = layout.pieces.roles
    rank = {layout.pieces.norms[number]: place for place, number in enumerate(layout.tools)}
    sent = [one for one in kept if roles[one[0]] == TOOL]
    rest = [one for one in kept if roles[one[0]] != TOOL]
    begin = next((index for index, one in enumerate(kept) if roles[one[0]] == TOOL), 0)
    begin = sum(roles[number] != TOOL for number, _ in kept[:begin])
    if every:
        others = [one for one in sent if one[1] not in rank]
        sent = [(number, layout.pieces.norms[number]) for number in layout.tools] + others
    else:
        sent = sorted(sent, key=lambda one: rank.get(one[1], len(rank)))
    return rest[:begin] + sent + rest[begin:]


def _in_order(layout: Layout, kept: list[tuple[int, Mark]]) -> list[tuple[int, Mark]]:
    movable = [index for index, one in enumerate(kept) if _is_text(layout, one[1])]
    ordered = iter(sorted((kept[index] for index in movable), key=lambda one: (layout.rank[one[1]], one[1])))
    result = list(kept)
    for index in movable:
        result[index] = next(ordered)
    return result


def _is_text(layout: Layout, mark: Mark) -> bool:
    return layout.is_static(mark) and layout.pieces.roles[layout.usual[mark]] not in (TOOL, SCHEMA)


def _wordings(layout: Layout) -> list[Fault]:
    pieces, by_kind = layout.pieces, dict[Kind, list[Mark]]()
    for mark, counted in layout.wordings.items():
        if len(counted) > 1 and counted.total() - counted[layout.usual[mark]] >= AFFECTED_SHARE * len(layout.calls):
            by_kind.setdefault(
                _kind_of_wording([pieces.texts[n] for n in counted], pieces.roles[layout.usual[mark]]), []
            ).append(mark)
    return [fault for kind, marks in by_kind.items() if (fault := _worded(layout, kind, marks)) is not None]


def _kind_of_wording(texts: Sequence[str], role: str) -> Kind:
    if role not in (TOOL, SCHEMA):
        return "whitespace"
    if len({json.dumps(json.loads(text), sort_keys=True) for text in texts}) == 1:
        return "tool_keys"
    return "tool_changes" if role == TOOL else "schema_changes"


def _worded(layout: Layout, kind: Kind, marks: Sequence[Mark]) -> Fault | None:
    first = min(marks, key=lambda mark: layout.rank.get(mark, 0.0))
    wanted, pieces = set(marks), layout.pieces
    other: list[tuple[Call, int]] = []
    usual: list[tuple[Call, int]] = []
    affected = 0
    for call in layout.calls:
        unusual = False
        for index, (number, mark) in enumerate(zip(call.numbers, marks_of(call, pieces), strict=True)):
            if mark in wanted:
                unusual = unusual or number != layout.usual[mark]
                if mark == first:
                    (usual if number == layout.usual[mark] else other).append((call, index))
        affected += unusual
    if not usual or not other:
        return None
    one, place = usual[0]
    text = pieces.texts[one.numbers[place]]
    call, index = min(other[:VALUES_MAX], key=lambda at: common_prefix(pieces.texts[at[0].numbers[at[1]]], text))
    same = common_prefix(pieces.texts[call.numbers[index]], text)
    change = frozenset(("wording", mark) for mark in marks)
    distinct = sum(len(layout.wordings[mark]) for mark in marks) - len(marks) + 1
    examples = tuple(
        _example(pieces, which, (at, at + 1), same, 0, around=EXAMPLE_CHARACTERS // 2)
        for which, at in ((one, place), (call, index))
    )
    return _fault(pieces, kind, change, call, index, same, affected, distinct, 0.9, examples)


def _tool_set(layout: Layout) -> list[Fault]:
    pieces = layout.pieces
    sets: Counter[tuple[int, ...]] = Counter()
    example: dict[tuple[int, ...], Call] = {}
    for call in layout.calls:
        names = tuple(sorted({pieces.norms[number] for number in call.numbers if pieces.roles[number] == TOOL}))
        sets[names] += 1
        example.setdefault(names, call)
    usual, count = sets.most_common(1)[0]
    if len(sets) < 2 or len(layout.calls) - count < AFFECTED_SHARE * len(layout.calls):
        return []
    one = example.pop(usual)
    index, other = min(
        ((_parting(one, other), other) for other in [*example.values()][:VALUES_MAX]), key=lambda found: found[0]
    )
    examples = tuple(_tool_names(pieces, call, index) for call in (one, other))
    change = frozenset({("tools", _ANY)})
    return [_fault(pieces, "tool_set", change, other, index, 0, len(layout.calls) - count, len(sets), 0.8, examples)]


def _parting(one: Call, other: Call) -> int:
    """Index of the first piece that differs."""
    pairs = enumerate(zip(one.numbers, other.numbers, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one.numbers), len(other.numbers)) - 1)


def _orders(layout: Layout) -> list[Fault]:
    found = []
    for kind, name, is_tool in (("tool_order", "tool order", True), ("example_order", "order", False)):
        fault = _order(layout, "tool_order" if kind == "tool_order" else "example_order", name, is_tool=is_tool)
        found += [fault] if fault else []
    return found


def _order(layout: Layout, kind: Kind, change: str, *, is_tool: bool) -> Fault | None:
    pieces = layout.pieces
    straight: Call | None = None
    bent: list[tuple[int, Call]] = []
    seen = set()
    for call in layout.calls:
        stays = [
            (index, mark)
            for index, mark in enumerate(marks_of(call, pieces))
            if layout.is_static(mark)
            and (pieces.roles[call.numbers[index]] == TOOL) == is_tool
            and pieces.roles[call.numbers[index]] != SCHEMA
        ]
        ordered = sorted(stays, key=lambda one: (layout.rank[one[1]], one[1]))
        wrong = next((a[0] for a, b in zip(stays, ordered, strict=True) if a != b), None)
        if wrong is None:
            straight = straight or call
        else:
            bent.append((wrong, call))
            seen.add(tuple(mark for _, mark in stays))
    if straight is None or len(bent) < AFFECTED_SHARE * len(layout.calls):
        return None
    index, call = min(bent, key=lambda one: pieces.tokens_of(one[1].numbers[: one[0]]))
    if is_tool:
        examples = tuple(_tool_names(pieces, one, index) for one in (straight, call))
    else:
        examples = tuple(_example(pieces, one, (index, index + 1), 0, 0) for one in (straight, call))
    return _fault(pieces, kind, frozenset({(change, _ANY)}), call, index, 0, len(bent), len(seen) + 1, 0.9, examples)


def _slots(layout: Layout) -> list[Fault]:
    found: list[Fault] = []
    least = AFFECTED_SHARE * len(layout.calls)
    for slot in layout.slots:
        call, begin, _ = slot.values[0]
        enough = slot.calls >= least and slot.following >= FOLLOWING_TOKENS * slot.calls
        if enough and layout.pieces.roles[call.numbers[begin]] != TOOL and len(found) < SLOTS_MAX:
            found.append(_of_slot(layout, slot))
    return found


def _of_slot(layout: Layout, slot: Slot) -> Fault:
    pieces = layout.pieces
    texts = [
        "".join(pieces.texts[n] for n in call.numbers[a:b] if pieces.roles[n] != HEAD)[: VALUE_CHARACTERS * 10]
        for call, a, b in slot.values
    ]
    samples = [Sample(text, call.user, call.session) for text, (call, _, _) in zip(texts, slot.values, strict=True)]
    kind, start, end, certain = classify(samples)
    call, begin, stop = slot.values[0]
    other = next((value for value, text in zip(slot.values, texts, strict=True) if text != texts[0]), slot.values[-1])
    examples = tuple(_example(pieces, one, (a, b), start, end) for one, a, b in ((call, begin, stop), other))
    middle = sorted(slot.values, key=lambda value: pieces.tokens_of(value[0].numbers[: value[1]]))[
        len(slot.values) // 2
    ]
    change = frozenset({("move", slot.after)})
    return _fault(pieces, kind, change, middle[0], middle[1], start, slot.calls, len(slot.distinct), certain, examples)


def _fault(
    pieces: Pieces, kind: Kind, change: frozenset[tuple[str, Mark]], call: Call, index: int, characters: int,
    calls: int, distinct: int, certain: float, examples: tuple[Example, ...],
) -> Fault:  # fmt: skip
    """`characters`: those of the place's own text that all calls share."""
    section, begin = section_of(pieces, call, index)
    shared = 0
    if characters:
        text = "".join(pieces.texts[number] for number in call.numbers[index : index + 8])
        shared = round(pieces.count(text[:characters]))
    before = pieces.tokens_of(call.numbers[:begin])
    token = pieces.tokens_of(call.numbers[:index]) + shared
    return Fault(kind, change, token, section, token - before, calls, distinct, certain, examples)


def section_of(pieces: Pieces, call: Call, index: int) -> tuple[str, int]:
    """What kind of section a piece is in, and the index of the section's first piece of text."""
    role = pieces.roles[call.numbers[min(index, len(call.numbers) - 1)]]
    if role == TOOL:
        return "tools", next(i for i, number in enumerate(call.numbers) if pieces.roles[number] == TOOL)
    if role == SCHEMA:
        return "schema", index
    begin = next((i for i in range(index, -1, -1) if pieces.roles[call.numbers[i]] == HEAD), -1)
    return (pieces.texts[call.numbers[begin]].strip("<>") if begin >= 0 else role), begin + 1


def _example(pieces: Pieces, call: Call, span: tuple[int, int], start: int, end: int, around: int = 80) -> Example:
    """`start` and `end`: characters of the span's text that do not vary."""
    text = "".join(pieces.texts[n] for n in call.numbers[span[0] : span[1]] if pieces.roles[n] != HEAD)
    before = "".join(pieces.texts[n] for n in call.numbers[max(0, span[0] - 6) : span[0]] if pieces.roles[n] != HEAD)
    behind = "".join(pieces.texts[n] for n in call.numbers[span[1] : span[1] + 6] if pieces.roles[n] != HEAD)
    varies = text[start : len(text) - end]
    if call.redacted:
        varies = masked(varies)
    cut = varies if len(varies) <= EXAMPLE_CHARACTERS else varies[: EXAMPLE_CHARACTERS - 1] + "…"
    return Example(call.id, (before + text[:start])[-around:], cut, (text[len(text) - end :] + behind)[:around])


def masked(text: str) -> str:
    """The form of a text without what it says."""
    return "".join("0" if c.isdigit() else "x" if c.isalpha() else c for c in text)


def _tool_names(pieces: Pieces, call: Call, index: int) -> Example:
    """Tools as their names in a row."""
    tools = [(i, _name(pieces.texts[n])) for i, n in enumerate(call.numbers) if pieces.roles[n] == TOOL]
    before = ", ".join(name for i, name in tools if i < index)
    varies = ", ".join(name for i, name in tools if i >= index)
    return Example(call.id, f"{before}, " if before else "", varies[:EXAMPLE_CHARACTERS] or "(no more tools)", "")


def _name(text: str) -> str:
    tool: Any = json.loads(text)
    inner = tool.get("function", tool) if isinstance(tool, dict) else tool
    return str(inner.get("name") or inner.get("type")) if isinstance(inner, dict) else str(inner)
