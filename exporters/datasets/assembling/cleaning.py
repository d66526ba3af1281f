"""Which examples a model should not learn from, and why: judged on what the record says and on the messages alone.

Of an answer that somebody corrected, how it ended and whether it refused no longer counts: the correction is judged.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from ..example import Example, Message, Row, answer, text_of
from ..options import Clean
from ..reasons import Reason
from .languages import Languages

_FINISHED: Final = frozenset({"answered", "cached"})
_FAILED: Final = "error"
"""Finish reason of a response whose status is `failed`; the HTTP status was 200."""
_CUT: Final = frozenset({"length", "content_filter", "max_tokens", "max_output_tokens", "incomplete"})
"""Finish reasons of answers that stop before their end: chat's, the Responses API's and those of other servers."""
_REFUSAL_CHARACTERS_MAX: Final = 400

_IMAGE_NOTE: Final = "[image]"
"""What stands for an image that was too long to keep."""


class Cleaner:
    """Judges examples. Raises `DatasetError` when a language is not known, or cannot be told without an extra."""

    def __init__(self, options: Clean, *, corrections: bool = True) -> None:
        """`corrections`: an answer with a correction was replaced by it."""
        self._options = options
        self._corrections = corrections
        self._languages = Languages(options.languages) if options.languages else None

    def judge(self, row: Row, example: Example) -> Reason:
        """`KEPT`, or the first reason against it in the order of `Reason`."""
        options = self._options
        if row.status >= 400 or row.outcome not in _FINISHED:
            return Reason.FAILED
        corrected = bool(example.rejected) or (self._corrections and bool(row.correction))
        # Of several choices the first is the answer.
        finish = row.finish_reasons[0] if row.finish_reasons and not corrected else ""
        if finish == _FAILED:
            return Reason.FAILED
        if not options.keep_incomplete and (row.truncated or finish in _CUT):
            return Reason.INCOMPLETE
        said = answer(example) if example.messages else {}
        text = text_of(said)
        refusal = _refusal(said)
        if said.get("role") != "assistant" or not (text.strip() or refusal or _calls(said)):
            return Reason.EMPTY_ANSWER
        if not options.keep_refusals and (refusal or is_refusal(text)):
            return Reason.REFUSED
        if options.tokens_max and example.tokens > options.tokens_max:
            return Reason.TOO_LONG
        if example.tokens < options.tokens_min:
            return Reason.TOO_SHORT
        if _broken_tools(example):
            return Reason.BROKEN_TOOLS
        if self._languages is not None and not self._languages.accept(example.messages):
            return Reason.LANGUAGE
        if options.images == "drop" and any(map(_has_image, example.messages)):
            return Reason.IMAGES
        return Reason.KEPT


_refuses: Final = re.compile(
    r"""
    (?:(?:i[ ]am|i'm)[ ](?:so[ ]|very[ ]|really[ ])?sorry|sorry|i[ ]apologi[sz]e|(?:my[ ])?apologies|unfortunately)?
    [,.;:]?[ ]*(?:but[ ])?
    (?:
      (?:as[ ]an?[ ](?:ai|artificial|large[ ]language|language)[^,.]{0,40},[ ])?
      i(?:[ ]can(?:'t|not|[ ]not)|'m[ ](?:unable|not[ ]able)[ ]to|[ ]am[ ](?:unable|not[ ]able)[ ]to|[ ]won't
        |[ ]will[ ]not|[ ]must[ ]decline[ ]to)[ ]
      (?:assist|help|comply|continue|engage|proceed|fulfil|fulfill|do|answer|complete|process)(?:[ ]you)?
      (?:[ ](?:with|to|in))?[ ]?(?:(?:that|this|it|your|such)(?:[ ](?:request|requests|question|topic|conversation))?)?
    | i[ ]must[ ]decline(?:[ ](?:this|that|your)[ ]request)?
    | (?:this|your)[ ]request[ ](?:violates|goes[ ]against)[ ][^.]{0,60}polic(?:y|ies)
    )
    (?:\.|!|$)
    """,
    re.IGNORECASE | re.VERBOSE,
).match


def is_refusal(text: str) -> bool:
    """Whether a short answer opens with a sentence that does nothing but refuse: "I'm sorry, but I can't help with
    that." A sentence that says what it is that cannot be done ("I can't help with returns after 30 days") answers.
    """
    if len(text) > _REFUSAL_CHARACTERS_MAX:
        return False
    return _refuses(text.strip().replace("\u2019", "'")) is not None


def _refusal(message: Message) -> bool:
    """Whether the model said so itself, in the field or the part that is there for it."""
    if message.get("refusal"):
        return True
    content = message.get("content")
    return isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "refusal" for p in content)


def _calls(message: Message) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _broken_tools(example: Example) -> bool:
    """Whether a call before the answer has not exactly one result, directly behind it; a result has no call; or a call
    is not one that the model could have been offered. The calls of the answer may be open.
    """
    open_calls: set[object] = set()
    names: frozenset[object] | None = None
    for message in example.messages:
        role = message.get("role")
        if role == "tool" or role == "function":
            call_id = message.get("tool_call_id") if role == "tool" else (message.get("name"),)
            if call_id not in open_calls:
                return True
            open_calls.discard(call_id)
            continue
        if open_calls:
            return True
        if role == "assistant" and _calls(message):
            if names is None:
                names = frozenset(map(_tool_name, example.tools))
            made = _opened(message, names)
            if made is None:
                return True
            open_calls = made
    # What is open here are the calls of the answer.
    return False


def _opened(message: Message, names: frozenset[object]) -> set[object] | None:
    """By what the results will name them; None when one of them is broken."""
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        return None
    made: set[object] = set()
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call_id := call.get("id"), str):
            return None
        function = call.get("function")
        custom = call.get("custom")
        if isinstance(function, dict):
            if not _takes(function, names):
                return None
        elif not isinstance(custom, dict) or not isinstance(custom.get("input"), str) or _unknown(custom, names):
            return None
        made.add(call_id)
    if len(made) != len(calls):
        return None
    if (legacy := message.get("function_call")) is not None:
        # Of `functions`, which are not among the tools. Its result names it by the function.
        if not isinstance(legacy, dict) or not _takes(legacy, frozenset()):
            return None
        made.add((legacy["name"],))
    return made


def _takes(function: dict[str, Any], names: frozenset[object]) -> bool:
    arguments = function.get("arguments")
    return not _unknown(function, names) and isinstance(arguments, str) and _is_object(arguments)


def _unknown(called: dict[str, Any], names: frozenset[object]) -> bool:
    name = called.get("name")
    return not isinstance(name, str) or not name or bool(names and name not in names)


def _tool_name(tool: dict[str, Any]) -> object:
    inner = tool.get("function") or tool.get("custom")
    return inner.get("name") if isinstance(inner, dict) else None


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _is_object(text: str) -> bool:
    try:
        _decode_object(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        # The stdlib takes lone surrogates, which JavaScript writes.
        try:
            return isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            return False
    return True


def _has_image(message: Message) -> bool:
    content = message.get("content")
    if not isinstance(content, list):
        return False
    for part in content:
        if isinstance(part, dict) and (
            "image" in str(part.get("type"))
            or "image_url" in part
            or (part.get("type") == "text" and part.get("text") == _IMAGE_NOTE)
        ):
            return True
    return False
