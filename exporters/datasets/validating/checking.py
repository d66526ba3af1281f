"""One line of a training file against the rules: which kind it is, what is wrong with it, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from ..assembling.assembly import BYTES_A_TOKEN
from ..example import Example, text_of
from ..index import digest
from ..options import Scrub
from ..scrubbing.personal_data import DETECTORS
from ..scrubbing.scrub import Scrubber
from .checking_messages import Note, Placed, check_message, check_weights, placed
from .checking_messages import field as field_name
from .checking_tools import check_calls, check_tools
from .rules import IMAGES_MAX

Kind = Literal["supervised", "preference"]

_SUPERVISED: Final = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_PREFERENCE: Final = frozenset({"input", "preferred_output", "non_preferred_output"})
_INPUT: Final = frozenset({"messages", "tools", "parallel_tool_calls"})
_INSTRUCTIONS: Final = frozenset({"system", "developer"})
_OUTPUTS: Final = ("preferred_output", "non_preferred_output")

_kinds: Final = "|".join(sorted({kind for kind, *_ in DETECTORS} | {"USER"}))
_placeholders = re.compile(rf"\[(?:{_kinds})_[0-9]{{1,9}}\]").findall
_hole = re.compile(r"\{\{[ ]*[A-Za-z_][\w.]*[ ]*\}\}").search
_control_token = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id)\|>"
).search
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class Checked:
    """What became known of a line."""

    kind: Kind | None = None
    """None: no example that could be read."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Names of broken rules, and where."""
    tokens: int = 0
    """Estimated from its text; images not counted."""
    images: int = 0
    question: int = 0
    """Digest of all before the answer."""
    whole: int = 0
    """Digest of the question and the answer, or both answers."""

    def note(self, rule: str, where: str) -> None:
        self.notes.append((rule, where))


class Checker:
    """Checks lines. One per process."""

    def __init__(self, tokens_max: int) -> None:
        self._tokens_max = tokens_max
        self._scrubber = Scrubber(Scrub())

    def check(self, line: dict[str, Any]) -> Checked:
        """Everything that can be said of a line by itself. The line's texts are scrubbed by it."""
        found = Checked()
        if "messages" in line:
            found.kind = "supervised"
            self._supervised(line, found)
        elif "input" in line and not _PREFERENCE.isdisjoint(line.keys() - {"input"}):
            found.kind = "preference"
            self._preference(line, found)
        else:
            found.note("other_format", "")
        if found.tokens > self._tokens_max:
            found.note("too_many_tokens", "")
        return found

    def _supervised(self, line: dict[str, Any], found: Checked) -> None:
        note = found.note
        _check_fields(line, _SUPERVISED, "", note)
        names = check_tools(line, "", note)
        messages = placed(line["messages"], "messages", note)
        if not messages:
            note("no_messages", "messages")
            return
        found.images = sum(check_message(at, message, note) for at, message in messages)
        if found.images > IMAGES_MAX:
            note("too_many_images", "messages")
        check_weights(messages, note)
        check_calls(messages, names, note)
        *asked, (at, last) = messages
        if all(message["role"] != "assistant" for _, message in messages):
            note("no_answer", "messages")
        elif last["role"] != "assistant":
            note("answer_not_last", at)
        else:
            _check_answer(asked, at, last, note)
        _check_texts(messages, note)
        _measure(found, line, asked, [last])
        self._check_privacy(line, [message for _, message in messages], note)

    def _preference(self, line: dict[str, Any], found: Checked) -> None:
        note = found.note
        _check_fields(line, _PREFERENCE, "", note)
        asked_of = line["input"] if isinstance(line["input"], dict) else {}
        _check_fields(asked_of, _INPUT, "input.", note)
        names = check_tools(asked_of, "input.", note)
        asked = placed(asked_of.get("messages"), "input.messages", note)
        if not asked:
            note("input_shape", "input.messages")
        elif asked[-1][1]["role"] == "assistant":
            note("input_answered", asked[-1][0])
        for at, message in asked:
            if check_message(at, message, note):
                note("image_in_pair", at)
        outputs = [_output(line, name, note) for name in _OUTPUTS]
        for number, output in enumerate(outputs):
            if output is not None:
                check_message(*output, note)
                # What is wrong with the calls of the question is said once.
                check_calls([*asked, output] if not number else [output], names, note)
        preferred, rejected = outputs
        answers = [output[1] for output in outputs if output is not None]
        if preferred is not None and asked:
            _check_answer(asked, *preferred, note)
        if preferred is not None and rejected is not None and preferred[1] == rejected[1]:
            note("same_outputs", _OUTPUTS[1])
        _check_texts([*asked, *(output for output in outputs if output is not None)], note)
        _measure(found, asked_of, asked, answers)
        self._check_privacy(asked_of, [message for _, message in asked] + answers, note)

    def _check_privacy(self, holder: dict[str, Any], messages: list[dict[str, Any]], note: Note) -> None:
        tools = holder.get("tools")
        tools = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
        example = Example(request_id="", timestamp_ns=0, messages=messages, tools=tools)
        if kinds := self._scrubber.scrub(example):
            note("private_text", ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds)))


def _check_fields(holder: dict[str, Any], known: frozenset[str], where: str, note: Note) -> None:
    for name in sorted(holder.keys() - known):
        note("unknown_field", f"{where}{field_name(name)}")


def _output(line: dict[str, Any], name: str, note: Note) -> Placed | None:
    output = line.get(name)
    found = placed(output, name, note)
    if not isinstance(output, list) or len(output) != 1 or not found or found[0][1]["role"] != "assistant":
        note("output_shape", name)
        return None
    return found[0]


def _check_answer(asked: list[Placed], at: str, answer: dict[str, Any], note: Note) -> None:
    text = text_of(answer).strip()
    if not text and answer.get("content") is not None and not answer.get("tool_calls") and not answer.get("refusal"):
        note("empty_answer", f"{at}.content")
    questions = [text_of(message) for _, message in asked if message["role"] == "user"]
    if not questions:
        note("no_question", at)
    elif text and text.casefold() == questions[-1].strip().casefold():
        note("answer_repeats_question", f"{at}.content")
    if given := _placeholders(text):
        said = "\n".join(text_of(message) for _, message in asked)
        said += _encode([message.get("tool_calls") for _, message in asked]).decode()
        if any(placeholder not in said for placeholder in given):
            note("placeholder_answer", f"{at}.content")


def _check_texts(messages: list[Placed], note: Note) -> None:
    for at, message in messages:
        text = text_of(message)
        if "<|" in text and _control_token(text):
            note("control_tokens", f"{at}.content")
        if message["role"] in _INSTRUCTIONS and "{{" in text and _hole(text):
            note("template_hole", f"{at}.content")


def _measure(found: Checked, holder: dict[str, Any], asked: list[Placed], answers: list[dict[str, Any]]) -> None:
    tools = _encode(holder["tools"]) if holder.get("tools") else b""
    question = _encode([message for _, message in asked])
    whole = _encode(answers)
    found.question = digest(str(found.kind), tools, question)
    found.whole = digest(str(found.kind), tools, question, whole)
    messages = [message for _, message in asked] + answers[:1]
    size = sum(len(text_of(message).encode()) for message in messages) + len(tools)
    size += sum(len(_encode(message["tool_calls"])) for message in messages if message.get("tool_calls"))
    found.tokens = round(size / BYTES_A_TOKEN) + 4 * len(messages)
