"""Applications with nothing wrong, some of which look as if there were."""

from __future__ import annotations

import random

from tests.traffic import Sent, question, sentences, tool
from tests.unit.proxy.advising.scenarios import DOCUMENTS, EXAMPLES, PEOPLE, RULES, TOOLS


def conversations(index: int, dice: random.Random) -> Sent:
    """Ten growing conversations whose turns take their turns."""
    who, turns = index % 10, index // 10
    said = random.Random(f"conversation {who}")
    messages = [("system", RULES), question(said)]
    for _ in range(turns):
        messages += [("assistant", question(said)[1]), question(said)]
    return Sent(0, messages, tools=TOOLS[:3])


def user_behind(index: int, dice: random.Random) -> Sent:
    text = f"{RULES}The time is 2026-11-23T07:{index % 60:02}:11Z. You speak with {PEOPLE[index % 7]}, call {index}."
    return Sent(0, [("system", text), question(dice)], user=PEOPLE[index % 7])


def tenants(index: int, dice: random.Random) -> Sent:
    """Four applications behind one key and one model, each with rules and tools of its own after a shared opening."""
    who = index % 4
    text = f"You work for Example Inc.\n{sentences(150, f'tenant {who}')}"
    return Sent(0, [("system", text), question(dice)], tools=[tool(f"act_{who}")])


def documents_behind(index: int, dice: random.Random) -> Sent:
    found = "".join(dice.sample(DOCUMENTS, 3))
    return Sent(0, [("system", RULES), ("user", f"{found}\nAnswer from these: {question(dice)[1]}")])


def few_shot(index: int, dice: random.Random) -> Sent:
    turns = [(role, text) for text in EXAMPLES for role in ("user", "assistant")]
    return Sent(0, [("system", RULES), *turns, question(dice)])


def short(index: int, dice: random.Random) -> Sent:
    """Too short to be cached by far, though a time stands in front."""
    return Sent(0, [("system", f"It is {index}:00. {sentences(12, 'short')}"), question(dice)])


def agent(index: int, dice: random.Random) -> Sent:
    """Tool results that come again in each run, behind a task that differs."""
    run = random.Random(f"run {index // 4}")
    messages = [("system", RULES), question(run)]
    for step in range(index % 4):
        messages += [("assistant", f"Step {step}."), ("tool", sentences(30, f"result {step}"))]
    return Sent(0, messages, tools=TOOLS)


def two_versions(index: int, dice: random.Random) -> Sent:
    """Two wordings at the front, each warm by itself."""
    language = ("English", "German")[index % 2]
    return Sent(0, [("system", f"Answer in {language}.\n{RULES}"), question(dice)])


CLEAN = {
    made.__name__: made
    for made in (conversations, user_behind, tenants, documents_behind, few_shot, short, agent, two_versions)
}
