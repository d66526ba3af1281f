"""Applications with one thing wrong, each also as it would be with that put right."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.traffic import NOW, Sent, question, sentences, tool

RULES = sentences(150, "rules")
"""Some 1,500 tokens."""
EXAMPLES = [f"Example {name}: {sentences(6, name)}".replace("\n", " ") + "\n" for name in "ABCDEFGH"]
DOCUMENTS = [f"[{index}] {sentences(14, f'document {index}')}" for index in range(40)]
TOOLS = [
    tool(name) for name in ("find_order", "cancel_order", "refund", "track", "stock", "quote", "notify", "escalate")
]
PEOPLE = ("Ann Miller", "Bob Tanaka", "Chi Okafor", "Dee Novak", "Eli Haddad", "Fay Brandt", "Gus Lindqvist")

Scenario = Callable[[int, random.Random, bool], Sent]
"""A call's number, its dice, and whether the thing is put right."""


def _system(text: str, dice: random.Random, **more: Any) -> Sent:
    return Sent(0, [("system", text), question(dice)], **more)


def _around(varies: str, mended: bool, opening: str = "") -> str:
    return f"{opening}{RULES}{varies}" if mended else f"{opening}{varies}{RULES}"


def timestamp(index: int, dice: random.Random, mended: bool) -> Sent:
    time = datetime.fromtimestamp(NOW + index * 20.7, UTC).isoformat(timespec="milliseconds")
    return _system(_around(f"The time is {time}.\n", mended, "You serve customers of a shop.\n"), dice)


def random_id(index: int, dice: random.Random, mended: bool) -> Sent:
    return _system(_around(f"Request {uuid.UUID(int=dice.getrandbits(128))}\n", mended), dice)


def counter(index: int, dice: random.Random, mended: bool) -> Sent:
    return _system(_around(f"This is conversation number {4000 + index}.\n", mended), dice)


def user_text(index: int, dice: random.Random, mended: bool) -> Sent:
    # More people than call within ten minutes; some come again after that.
    name = f"{PEOPLE[index % 40 % len(PEOPLE)]} {'ABCDEFGH'[index % 40 // len(PEOPLE)]}"
    return _system(_around(f"You speak with {name}, who is a client.\n", mended), dice, user=f"id {index % 40}")


def whitespace(index: int, dice: random.Random, mended: bool) -> Sent:
    blanks = "" if mended else " " * dice.randint(0, 15)
    return _system(f"You serve customers of a shop.{blanks}\n{RULES}", dice)


def tool_order(index: int, dice: random.Random, mended: bool) -> Sent:
    tools = TOOLS if mended else dice.sample(TOOLS, len(TOOLS))
    return _system("You serve customers of a shop.", dice, tools=[*tools])


def tool_keys(index: int, dice: random.Random, mended: bool) -> Sent:
    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: shuffled(value[key]) for key in dice.sample([*value], len(value))}

    return _system("You serve customers of a shop.", dice, tools=TOOLS if mended else [shuffled(one) for one in TOOLS])


def tool_changes(index: int, dice: random.Random, mended: bool) -> Sent:
    first = TOOLS[0] if mended else TOOLS[0] | {"description": f"Finds orders. Data as of minute {index}."}
    return _system("You serve customers of a shop.", dice, tools=[first, *TOOLS[1:]])


def tool_set(index: int, dice: random.Random, mended: bool) -> Sent:
    some = TOOLS if mended else [one for one in TOOLS if dice.random() < 0.7]
    return _system("You serve customers of a shop.\n" + RULES, dice, tools=[*some])


def schema_changes(index: int, dice: random.Random, mended: bool) -> Sent:
    name = "answer" if mended else f"answer_{index}"
    schema = {"type": "json_schema", "json_schema": {"name": name, "schema": TOOLS[0]["parameters"]}}
    return _system(RULES, dice, schema=schema)


def example_order(index: int, dice: random.Random, mended: bool) -> Sent:
    examples = EXAMPLES if mended else dice.sample(EXAMPLES, len(EXAMPLES))
    return _system("You serve customers of a shop.\n" + "".join(examples) + RULES, dice)


def documents(index: int, dice: random.Random, mended: bool) -> Sent:
    return _system(_around("".join(dice.sample(DOCUMENTS, 3)), mended, "You answer by what follows.\n"), dice)


def in_user_message(index: int, dice: random.Random, mended: bool) -> Sent:
    asked = question(dice)[1]
    return Sent(0, [("user", _around(f"Customer wrote: {asked}\n", mended))])


FAULTS: dict[str, Scenario] = {
    "timestamp": timestamp,
    "random_id": random_id,
    "counter": counter,
    "user_text": user_text,
    "whitespace": whitespace,
    "tool_order": tool_order,
    "tool_keys": tool_keys,
    "tool_changes": tool_changes,
    "tool_set": tool_set,
    "schema_changes": schema_changes,
    "example_order": example_order,
    "documents": documents,
    "variable_text": in_user_message,
}
