"""What the SDK makes of a provider's replies, held to what is needed of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, TypeVar

import openai
from pydantic import BaseModel

from .eligibility import Listed

LISTED_MAX: Final = 20_000
"""Files, jobs or events that are looked through."""
TEXT_MAX: Final = 300
"""Characters of a provider's words that are passed on."""

T = TypeVar("T")


def one_line(text: object) -> str:
    """Somebody else's words, safe for a terminal, of at most `TEXT_MAX` characters."""
    words = "".join(character if character.isprintable() else " " for character in str(text)).split()
    line = " ".join(words)
    return line if len(line) <= TEXT_MAX else f"{line[: TEXT_MAX - 1]}…"


def words(error: openai.APIStatusError) -> object:
    """What the provider said of it."""
    body = error.body
    if isinstance(body, dict):
        return body.get("message") or body.get("detail") or body
    return body or error.message


def seconds(text: str) -> float:
    """Of `retry-after`; 0 where it is a date or nothing."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def items(page: Any) -> Iterator[Any]:
    """Over all pages, `LISTED_MAX` at most. Raises `TypeError` when it is no list.

    Servers that do not know `after` give the first page again and again: it ends with the first that was there before.
    """
    if getattr(page, "data", None) is None:
        raise TypeError("no list")
    seen: set[str] = set()
    for one in islice(page, LISTED_MAX):
        if isinstance(one.id, str):
            if one.id in seen:
                return
            seen.add(one.id)
        yield one


def shaped(value: T, *fields: str) -> T:
    """What the SDK made of a reply, when it was one: it takes anything that is JSON, and text where it is none.

    Raises `TypeError` when one of `fields` is no text.
    """
    if not isinstance(value, BaseModel) or not all(isinstance(getattr(value, name, None), str) for name in fields):
        raise TypeError(f"no {', '.join(fields)}")
    return value


def listed(model: Any) -> Listed:
    """Of an entry in the list of models."""
    extra = model.model_extra or {}
    able = extra.get("capabilities")
    trained = [able[name] for name in ("fine_tune", "fine_tuning") if name in able] if isinstance(able, dict) else []
    return Listed(shutdown=str(model.shutdown_date or ""), trainable=None if not trained else any(trained))
