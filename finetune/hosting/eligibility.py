"""Whether training a model at a provider has a point: what is trained there, and until when it will answer.

OpenAI closes its fine-tuning. Sources, as of November 2026: its page of deprecations (dates), its guide to model
optimization (models), and `shutdown_date` in its list of models. All dates are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import Final, NamedTuple

DAYS_MIN: Final = 90
"""A model that stops sooner is not worth its training."""

NEW_JOBS_UNTIL: Final = date(2027, 1, 6)
"""From then on OpenAI begins no job for anybody."""


class Trained(NamedTuple):
    """What OpenAI trains."""

    name: str
    """Snapshots have a date behind it."""
    stops: date | None
    """With all its fine-tunes; None: no date is known."""


TRAINED: Final = (
    Trained("gpt-4.1", date(2027, 1, 14)),
    Trained("gpt-4.1-mini", date(2027, 1, 14)),
    Trained("gpt-4.1-nano", None),
    Trained("gpt-4o", date(2027, 1, 14)),
    Trained("gpt-4o-mini", date(2027, 1, 14)),
)

_openai = re.compile(r"(?:chatgpt-|gpt-(?!oss|j|neo|2)|o[0-9]|davinci-|babbage-|codex-)").match
_snapshot = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")
_OTHER_DATES: Final = (".azure.com", ".microsoft.com")
"""Hosts that have models of the same names, with dates of their own."""


class Listed(NamedTuple):
    """A model as a provider lists it."""

    shutdown: str = ""
    """ISO 8601; "" where there is none."""
    trainable: bool | None = None
    """None: the list does not say."""


def base_of(model: str) -> str:
    """What a fine-tune was made of, without the date of its snapshot: `ft:gpt-4.1-mini-2025-04-14:acme::id`."""
    name = model.split(":")[1] if model.startswith("ft:") and model.count(":") else model
    return _snapshot.sub("", name)


def is_openai(model: str, host: str = "") -> bool:
    """By its name: a proxy in between hides who answers."""
    elsewhere = host.partition(":")[0].endswith(_OTHER_DATES)
    return not elsewhere and _openai(base_of(model)) is not None


def objection(model: str, listed: Mapping[str, Listed] | None, today: date, host: str = "") -> str:
    """Why `model` should not be trained there, in a sentence; "" when nothing is known against it.

    `listed`: what the provider answers with; None when it has no list.
    """
    return _of_list(model, listed, today) or (_of_openai(model, today) if is_openai(model, host) else "")


def _of_list(model: str, listed: Mapping[str, Listed] | None, today: date) -> str:
    if not listed:
        return ""
    one = listed.get(model)
    if one is None:
        near = get_close_matches(model, listed, n=2, cutoff=0.5)
        return f"{model} is not among the models there{f': {chr(32).join(near)} is near' if near else ''}."
    if one.trainable is False:
        return f"{model} is not trained there: its entry in the list of models says so."
    try:
        stops = date.fromisoformat(one.shutdown[:10])
    except ValueError:  # Somebody's own idea of a date; what OpenAI announced counts all the same.
        return ""
    return _of_stop(model, stops, today)


def _of_openai(model: str, today: date) -> str:
    name = base_of(model)
    trained = next((one for one in TRAINED if one.name == name), None)
    if trained is None:
        return f"OpenAI does not train {model}; it trains {', '.join(one.name for one in TRAINED)}."
    if today >= NEW_JOBS_UNTIL:
        return f"OpenAI begins no training any more since {NEW_JOBS_UNTIL}."
    return _of_stop(model, trained.stops, today) if trained.stops else ""


def _of_stop(model: str, stops: date, today: date) -> str:
    days = (stops - today).days
    if days <= 0:
        return f"{model} stopped on {stops}."
    if days < DAYS_MIN:
        return f"{model} and what is trained from it stop on {stops}, in {days} {'day' if days == 1 else 'days'}."
    return ""


def alternative(dataset: str) -> str:
    """What to do instead."""
    return f"Train locally: penstock finetune lora {dataset} --base MODEL. Or all the same: --force"
