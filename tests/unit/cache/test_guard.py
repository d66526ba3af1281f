"""Texts that are alike and ask for something else are told apart; paraphrases are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.guard import marks_of


def may_match(one: str, other: str) -> bool:
    a, b = marks_of(one), marks_of(other)
    return a.exact == b.exact and a.may_match(b.words, b.order)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 15 percent of 240?", "What is 15 percent of 250?"),
        ("Who won in 2014?", "Who won in 2018?"),
        ("What changed in version 3.11?", "What changed in version 3.12?"),
        ("Is -5 larger?", "Is 5 larger?"),
        ("Is a 5% raise good?", "Is a $5 raise good?"),
        ("What is 7 + 4?", "What is 7 * 4?"),
        ("What is 7 + 4?", "What is 7 - 4?"),
        ("What is 7 4?", "What is 7 - 4?"),
        ("A table for two", "A table for four"),
        ("Is it safe to eat?", "Is it not safe to eat?"),
        ("Why do they match?", "Why don't they match?"),
        ("Why do they match?", "Why don’t they match?"),
        ("a recipe with nuts", "a recipe without nuts"),
        ("Kann ich kündigen?", "Kann ich nicht kündigen?"),
        ("如何做", "如何不做"),
        ("turn it on", "turn it off"),
        ("enable it", "disable it"),
        ("cost per month", "cost per year"),
        ("10 MB of mail", "10 GB of mail"),
        ("the weather today", "the weather tomorrow"),
        ("Who leads Apple?", "Who leads Google?"),
        ("Ask Tom about Anna", "Ask Anna about Tom"),
        ("Is he the CEO?", "Is he the CFO?"),
        ("read a file in C", "read a file in C++"),
        ("call parse_date", "call parse_time"),
        ("open /etc/passwd", "open /etc/shadow"),
        ("write to a@example.com", "write to b@example.com"),
        ('Translate "good morning"', 'Translate "good evening"'),
        ("Explain `map`", "Explain `filter`"),
        ("how many euros is one dollar", "how many dollars is one euro"),
        ("does the dog bite the man", "does the man bite the dog"),
        ("从东京到大阪", "从大阪到东京"),
    ],
)
def test_they_are_told_apart(one: str, other: str) -> None:
    assert not may_match(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "how can I reset my password"),
        ("What is the capital of France?", "Tell me the capital of France"),
        ("What is the price of 1,000 units?", "The price of 1000 units, please"),
        ("How long is 3 hours?", "how long is 3 hour"),
        ("I'm lost. What now?", "I am lost. What now?"),
        ("Why does that happen?", "What makes that happen?"),
        ("What is Anna's job?", "Tell me the job of Anna."),
        ("Why?", "Why?"),
    ],
)
def test_paraphrases_are_not(one: str, other: str) -> None:
    assert may_match(one, other)


@given(st.text(max_size=80))
def test_any_text_matches_itself_and_never_raises(text: str) -> None:
    assert may_match(text, text)


@given(st.text(alphabet="ab cdE1.,?", max_size=60), st.text(alphabet="ab cdE1.,?", max_size=60))
def test_matching_is_mutual(one: str, other: str) -> None:
    assert may_match(one, other) == may_match(other, one)


def test_a_long_text_takes_no_time() -> None:
    for text in ('"' * 1000, "1," * 500, "a_" * 500, "A" * 1000, "`" * 999):
        marks_of(text)
