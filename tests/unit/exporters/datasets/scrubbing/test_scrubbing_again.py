"""What one call said and the next says again is looked at once, and nothing is missed for it."""

from __future__ import annotations

from typing import Any

import pytest

from exporters.datasets.example import Example
from exporters.datasets.options import Scrub
from exporters.datasets.scrubbing import scrub as scrubbing
from exporters.datasets.scrubbing.scrub import Scrubber


def example(*contents: str, user: str = "") -> Example:
    messages = [{"role": "user", "content": text} for text in contents]
    return Example(request_id="r", timestamp_ns=1, messages=messages, user=user)


def contents(told: Example) -> list[Any]:
    return [message["content"] for message in told.messages]


def test_what_was_clean_in_one_call_is_looked_at_for_another_user() -> None:
    scrubber = Scrubber(Scrub())
    texts = ("Is jonas%40x7 in?", "Ask jonas7 tomorrow.")
    assert scrubber.scrub(example(*texts, user="maria4")) == {}
    again, named = example(*texts, user="maria4"), example(*texts, user="jonas7")
    assert (scrubber.scrub(again), scrubber.scrub(named)) == ({}, {"USER": 1})
    assert contents(again) == [*texts]
    assert contents(named) == [texts[0], "Ask [USER] tomorrow."]
    assert scrubber.scrub(example(*texts, user="jonas@x7")) == {"USER": 1}


def test_what_was_clean_is_scrubbed_when_another_message_tells_what_it_says() -> None:
    scrubber = Scrubber(Scrub())
    assert scrubber.scrub(example("Try blue-Harbour-92.", "Yes.")) == {}
    told = example("Try blue-Harbour-92.", "Yes.", "My password: blue-Harbour-92")
    assert sum(scrubber.scrub(told).values()) == 2
    assert "Harbour" not in str(contents(told))


def test_no_more_is_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_CLEAN_BYTES_MAX", 1000)
    known = scrubbing._CleanTexts()
    for number in range(100):
        known.remember(f"user-{number % 3}", [f"text {number}"])
        assert known.unknown(f"user-{number % 3}", [f"text {number}", "other"]) == ["other"]
    assert len([number for number in range(100) if not known.unknown(f"user-{number % 3}", [f"text {number}"])]) <= 10
