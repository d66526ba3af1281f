"""The same text has the same digest, and the more two texts share, the more of their signatures is equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.comparing.fingerprints import SHINGLE, signatures, spoken, text_digest
from exporters.datasets.comparing.grams import grams, words
from exporters.datasets.example import Example, Message
from exporters.datasets.index import SIGNATURE


def example(*messages: Message, **fields: Any) -> Example:
    return Example(request_id="r", timestamp_ns=1, messages=list(messages), **fields)


def said(role: str, content: Any, **fields: Any) -> Message:
    return {"role": role, "content": content, **fields}


def talk(question: str, answer: str, system: str = "Be brief.") -> Example:
    return example(said("system", system), said("user", question), said("assistant", answer))


def called(arguments: str, name: str = "find", id_: str = "call_1") -> Example:
    call = {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
    return example(said("user", "Where is it?"), said("assistant", None, tool_calls=[call]))


def shown(url: str, answer: str = "A cat.") -> Example:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return example(said("user", parts), said("assistant", answer))


def digest_of(one: Example) -> int:
    return text_digest(spoken(one.messages))


ORIGINAL = talk("Where is my parcel?", "It arrives on Monday.")


@pytest.mark.parametrize(
    "again",
    [
        talk("where is MY parcel?", "It arrives on monday."),
        talk("  Where is\n\nmy\tparcel? ", "\nIt  arrives on Monday.\n", "Be  brief. "),
        talk("Where\u00a0is my parcel\uff1f", "It arrives on \uff2donday."),
        example(*ORIGINAL.messages, rejected=[said("assistant", "No idea.")], user="u", tags={"a": "b"}),
        example(*ORIGINAL.messages[:2], said("assistant", [{"type": "text", "text": "It arrives on Monday."}])),
    ],
)
def test_case_blanks_and_form_do_not_count(again: Example) -> None:
    assert digest_of(again) == digest_of(ORIGINAL)


@pytest.mark.parametrize(
    "another",
    [
        talk("Where is my parcel", "It arrives on Monday."),
        talk("Where is my parcel?", "It arrives on Tuesday."),
        talk("Where is my parcel?", "It arrives on Monday.", "Be long."),
        talk("Where is my par cel?", "It arrives on Monday."),
        talk("Where is my parcel? It", "arrives on Monday."),
        example(ORIGINAL.messages[0], said("assistant", "Where is my parcel?"), said("user", "It arrives on Monday.")),
        example(*ORIGINAL.messages[1:]),
    ],
)
def test_what_is_said_and_by_whom_counts(another: Example) -> None:
    assert digest_of(another) != digest_of(ORIGINAL)


def test_calls_of_tools_count_but_not_their_ids_and_blanks() -> None:
    assert digest_of(called('{"id": 7}')) == digest_of(called('{"id":7}', id_="other"))
    assert digest_of(called('{"id": 7}')) != digest_of(called('{"id": 8}'))
    assert digest_of(called('{"id": 7}')) != digest_of(called('{"id": 7}', "look"))


def test_images_count() -> None:
    assert digest_of(shown("https://x.test/1")) == digest_of(shown("https://x.test/1"))
    assert digest_of(shown("https://x.test/1")) != digest_of(shown("https://x.test/2"))


def similarity(one: Example, other: Example) -> float:
    first, second = signatures([one, other])
    return float(np.mean(first == second))


QUESTION = (
    "I ordered a blue winter jacket in size medium two weeks ago and the tracking page has not changed since it left"
    " your warehouse in Leipzig. Can you tell me whether the parcel is lost and what I have to do to get my money back?"
)
ANSWER = (
    "I am sorry for the delay. The carrier has confirmed that the parcel was damaged in their depot and is on its way"
    " back to us. You do not need to do anything: we will refund the full price to your card within three working days."
)


@pytest.mark.parametrize(
    "near",
    [
        talk(QUESTION.replace("jacket", "coat"), ANSWER),
        talk("Hi there! " + QUESTION + " Thanks", ANSWER),
        talk(QUESTION.upper().replace(".", " -"), ANSWER.replace(",", "")),
        talk(QUESTION.replace("two weeks", "9 days"), ANSWER.replace("three", "two")),
        talk(QUESTION, ANSWER, "It is noon. You help customers of a shop. " * 20),
    ],
)
def test_a_text_that_was_edited_a_little_is_nearly_the_same(near: Example) -> None:
    assert similarity(talk(QUESTION, ANSWER), near) >= 0.85


@pytest.mark.parametrize(
    "other",
    [
        talk(QUESTION, "It is not lost. It was put down at your neighbour's door, where you can fetch it any time."),
        talk("Please tell me what happened to my order, and whether somebody pays me for it.", ANSWER),
        talk(" ".join(reversed(QUESTION.split())), " ".join(reversed(ANSWER.split()))),
    ],
)
def test_another_answer_or_question_or_order_is_another_text(other: Example) -> None:
    assert similarity(talk(QUESTION, ANSWER), other) < 0.7


def test_a_shared_system_prompt_makes_nothing_alike() -> None:
    system = "You are the assistant of a shop. " * 100
    assert similarity(talk("Hello", "Hi.", system), talk("Bye now", "See you soon.", system)) < 0.5


def test_short_texts_are_compared_too() -> None:
    assert similarity(talk("Hi", "Hello"), talk("hi!", "Hello.")) == 1
    assert similarity(talk("Hi", "Hello"), talk("Yes", "No")) < 0.5
    assert similarity(talk("!", "?"), talk("?", "!")) < 1


def test_images_and_calls_are_part_of_it() -> None:
    assert similarity(shown("https://x.test/1"), shown("https://x.test/2")) < 0.85
    assert similarity(called('{"id": 7}'), called('{"id": 8}')) < 0.85


@given(st.lists(st.sampled_from("abcdefgh"), min_size=20, max_size=60), st.integers(0, 20))
def test_equal_values_estimate_the_similarity(names: list[str], changed: int) -> None:
    """Within five standard errors of a MinHash of as many values."""
    others = ["z" if at < changed else name for at, name in enumerate(names)]
    sets = [set(grams(words(f"user {' '.join(some)} assistant ok"), SHINGLE).tolist()) for some in (names, others)]
    truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    estimate = similarity(example(*chat(names)), example(*chat(others)))
    assert abs(estimate - truth) <= 5 * (truth * (1 - truth) / SIGNATURE) ** 0.5 + 1e-9


def chat(names: list[str]) -> list[Message]:
    return [said("user", " ".join(names)), said("assistant", "ok")]


def test_digests_and_signatures_are_those_of_every_version() -> None:
    """A release of the library that signs otherwise would make datasets other than they were."""
    assert digest_of(ORIGINAL) == 0x399760573712C37A
    signature = signatures([ORIGINAL])[0]
    assert signature.shape == (SIGNATURE,)
    assert signature.dtype == np.uint32
    assert signature[:4].tolist() == [719940838, 3288681579, 3232251758, 487015447]
    assert int(signature.sum(dtype=np.uint64)) == 377355420275


def test_a_signature_is_the_same_whatever_stands_beside_it() -> None:
    talks = [ORIGINAL, talk("!", "?"), talk(QUESTION, ANSWER), called('{"id": 7}'), talk("\u6771\u4eac " * 50, "ja")]
    talks += [talk("word " * 15_000, ANSWER), talk("", "x" * 70_000), example(said("assistant", None)), ORIGINAL]
    assert [*map(list, signatures(talks))] == [list(signatures([one])[0]) for one in talks]
