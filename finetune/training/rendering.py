"""A conversation as the text that a model sees, and which part of it each answer is.

Where an answer begins and ends is said by the template's own `{% generation %}` marks; else by those of the template
that trl knows in its place, where it says the same; else it is found by writing the conversation up to the answer, and
with it, and seeing that the whole begins with both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import FinetuneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]
Span = tuple[int, int]
_UNSTABLE = (
    "The chat template writes a conversation anew with each turn, so that no answer can be found in it. "
    "Give one with {% generation %} marks: --chat-template FILE"
)


class Unwritable(FinetuneError):
    """One conversation cannot be written, whatever others can."""


class Rendered:
    """`spans` has one for each answer of the assistant, in order; None: it is there, but nobody asked for it."""

    __slots__ = ("spans", "text")

    def __init__(self, text: str, spans: list[Span | None]) -> None:
        self.text = text
        self.spans = spans


class Template:
    """The chat template of a tokenizer. `how` says how answers are found."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from trl.chat_template_utils import has_generation_markers

        self._written = str(tokenizer.chat_template)
        self._variables = dict(tokenizer.special_tokens_map)
        self._end = str(tokenizer.eos_token or "")
        self._marked: str | None = None
        self._arguments_as_text = False
        self._begin = ""
        """What a template ends with for a model to answer, where trl's marks are taken."""
        self.how: Literal["marks", "trl", "prefixes"] = "prefixes"
        if has_generation_markers(self._written):
            self._marked, self.how = self._written, "marks"
        elif known := _known(tokenizer):
            self._marked, self.how = known, "trl"
            turn = [{"role": "user", "content": "x"}]
            before = self._write(self._written, turn, ())[0]
            self._begin = self.asked(turn).removeprefix(before)

    def render(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> Rendered:
        """Raises `FinetuneError`: the template cannot say this, or not in a way in which answers are found."""
        if self._marked is not None:
            text, found = self._write(self._marked, messages, tools, marks=True)
            answers = sum(message["role"] == "assistant" for message in messages)
            # Other marks than answers, or a template that says something else than the one that will be served with:
            # prefixes of the model's own are the truth then.
            own = text if self.how == "marks" else self._write(self._written, messages, tools)[0]
            if len(found) == answers and own == text:
                return Rendered(text, [self._tightened(text, *span) for span in found])
        return self._by_prefixes(messages, tools)

    def asked(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> str:
        """What a model is given to answer."""
        return self._write(self._written, messages, tools, ask=True)[0]

    def _by_prefixes(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Rendered:
        whole = self._write(self._written, messages, tools)[0]
        spans: list[Span | None] = []
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            if not any(before["role"] in ("user", "tool", "function") for before in messages[:at]):
                spans.append(None)
                continue
            before = self._write(self._written, messages[:at], tools)[0]
            upto = self._write(self._written, messages[: at + 1], tools)[0]
            if not whole.startswith(before) or not whole.startswith(upto):
                raise FinetuneError(_UNSTABLE)
            # A template may begin an answer with more than it then keeps, such as an opened thought.
            start = shared(self.asked(messages[:at], tools), upto)
            spans.append((start, self._ended(whole, start, len(upto))))
        return Rendered(whole, spans)

    def _tightened(self, text: str, start: int, end: int) -> Span:
        """A mark of the template's own as it is. One of trl's from where a model begins (the newline that ends the
        role is asked, not answered) to its end token."""
        if self.how == "marks":
            return start, end
        asked = len(self._begin)
        begins = text.find(self._begin, max(start - asked, 0), start + asked) if asked else -1
        return begins + asked if begins >= 0 else start, self._ended(text, start, end)

    def _ended(self, whole: str, start: int, end: int) -> int:
        """Without the blanks that separate it from the next turn: a model stops at its end token."""
        text = whole[start:end]
        bare = text.rstrip()
        return start + len(bare) if self._end and bare.endswith(self._end) else end

    def _write(
        self,
        template: str,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        ask: bool = False,
        marks: bool = False,
    ) -> tuple[str, list[Span]]:
        from jinja2 import TemplateError

        try:
            return self._rendered(template, messages, tools, ask=ask, marks=marks)
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError) as error:
            if not self._arguments_as_text and any(message.get("tool_calls") for message in messages):
                self._arguments_as_text = True  # some templates put them into the text as they are
                return self._write(template, messages, tools, ask=ask, marks=marks)
            said = " ".join(str(error).split())[:200]
            if isinstance(error, KeyError):
                said = f"{said} is missing"
            raise Unwritable(f"the chat template cannot write this conversation: {said}") from error

    def _rendered(
        self,
        template: str,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        ask: bool,
        marks: bool,
    ) -> tuple[str, list[Span]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, found = render_jinja_template(
            [[_plain(message, self._arguments_as_text) for message in messages]],
            tools=list(tools) or None,
            chat_template=template,
            return_assistant_tokens_mask=marks,
            add_generation_prompt=ask,
            **self._variables,
        )
        return texts[0], list(found[0]) if marks else []


def shared(one: Sequence[object], other: Sequence[object]) -> int:
    """How much both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _known(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The template with marks that trl has for this one."""
    from trl.chat_template_utils import get_training_chat_template

    try:
        template: str | None = get_training_chat_template(tokenizer)
    except Exception:  # noqa: BLE001 (it tries templates with conversations that they may refuse in any way)
        return None
    return template


def _plain(message: Message, arguments_as_text: bool) -> Message:
    """As templates expect it: text is a string, arguments are an object (of a few, a string), `weight` is ours."""
    plain = {name: value for name, value in message.items() if name != "weight" and value is not None}
    if plain["role"] == "developer":
        plain["role"] = "system"
    content = message.get("content")
    plain["content"] = "".join(_texts(content)) if isinstance(content, list) else content or ""
    if calls := message.get("tool_calls"):
        plain["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": _arguments(call["function"], arguments_as_text)}}
            for call in calls
        ]
    return plain


def _texts(parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        yield part if isinstance(part, str) else part.get("text") or part.get("refusal") or ""


def _arguments(function: dict[str, Any], as_text: bool) -> Any:
    arguments = function.get("arguments") or "{}"
    if as_text or not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
