"""How surprised a model is by the reference answers, from the log probabilities that its server gives for a prompt.

`POST /v1/completions` with `echo` and `logprobs` gives one for each token of the prompt. Some servers ignore `echo`,
and some are off by one: they give each token the number of its neighbour, which looks like a result. So the server is
checked first against values that it cannot get wrong: what it says of a token that it has just generated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from ..dataset import Message
from ..run import Run
from .examples import Example
from .together import together

PROBES: Final = (
    "The capital of France is",
    "One, two, three, four,",
    "def add(a, b):\n    return",
    "Once upon a time there was a",
)
_TOLERANCE: Final = 0.05
"""Nats. The same token in a batch of another size differs by less."""
_APART: Final = 0.3
"""By how much its neighbours must differ for a value to prove anything."""
_FIRST_MAX: Final = 3
"""Tokens that a server may put before a prompt."""

NO_ECHO: Final = "the server gives no log probabilities of a prompt"
NOT_OF_THE_TOKENS: Final = "the log probabilities that the server echoes are not those of its tokens (off by one?)"
NOT_CHECKED: Final = "the log probabilities that the server echoes could not be checked"


class Completes(Protocol):
    """As `asking.Asker` does."""

    async def complete(self, body: dict[str, Any]) -> bytes | None: ...


class Loss(msgspec.Struct, kw_only=True):
    """Of one reference answer."""

    nats: float | None = None
    """The sum; None: the server's tokens do not spell the answer."""
    tokens: int = 0


class Template(Protocol):
    """Writes a conversation as the model reads it."""

    def __call__(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str: ...


class _Logprobs(msgspec.Struct):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []


class _Choice(msgspec.Struct):
    text: str = ""
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


async def unfit(server: Completes, model: str) -> str:
    """Why the echoed log probabilities of `model` cannot be used; "" when they can."""
    proved = 0
    for text in PROBES:
        said = await _ask(server, {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": 1})
        if said is None or said.logprobs is None or not said.logprobs.tokens:
            return NO_ECHO  # nothing, or in a shape of its own
        generated = said.logprobs
        if len(generated.tokens) != 1 or generated.tokens[0] != said.text or generated.token_logprobs[0] is None:
            continue
        known = generated.token_logprobs[0]
        whole = await _echo(server, model, text + said.text)
        if whole is None:
            return NO_ECHO
        tokens, values = whole
        if not tokens or tokens[-1] != said.text:
            continue  # it was cut otherwise together with the text before it
        value = values[-1]
        if value is None or not _near(value, known):
            return NOT_OF_THE_TOKENS
        before = values[-2] if len(values) > 1 else None
        proved += before is None or abs(before - known) > _APART
    return "" if proved else NOT_CHECKED


async def losses(server: Completes, model: str, prompts: Sequence[tuple[str, str]], concurrency: int = 4) -> list[Loss]:
    """Of each answer behind its prompt. Only for a server that is not `unfit`. Raises what `complete` raises."""
    gate = asyncio.Semaphore(concurrency)

    async def one(prompt: str, answer: str) -> Loss:
        async with gate:
            found = await _echo(server, model, prompt + answer)
        return Loss() if found is None else _behind(len(prompt), *found)

    return await together([one(*pair) for pair in prompts])


def prompts_of(template: Template, examples: Sequence[Example]) -> list[tuple[str, str]]:
    """Of each example what the model reads before it answers, and the answer. Raises `FinetuneError`."""
    return [(template(one.messages, one.tools), one.text) for one in examples]


def template_of(source: str, run: Run | None) -> Template:
    """The chat template of the tokenizer of `source` (folder, file, name), else the run's. Raises `FinetuneError`."""
    from ..training import rendering
    from ..training.bases import Base, find_base, load_tokenizer

    if not source and run is not None and (run.adapter / "tokenizer_config.json").is_file():
        base = Base(str(run.adapter), "folder", run.adapter)
    else:
        base = find_base(source or (run.file.base if run is not None else ""))
    tokenizer = load_tokenizer(base)
    first, template = tokenizer.bos_token or "", rendering.Template(tokenizer)

    def render(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str:
        return template.asked(messages, tools).removeprefix(first)  # the server puts it there

    return render


async def _ask(server: Completes, body: dict[str, Any]) -> _Choice | None:
    reply = await server.complete(body)
    try:
        return msgspec.json.decode(reply, type=_Completion).choices[0] if reply is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        return None


async def _echo(server: Completes, model: str, text: str) -> tuple[list[str], list[float | None]] | None:
    """The tokens that spell `text` and their log probabilities, without what was put before and generated behind.

    One token is generated: none is more than some servers can do, and others take 0 for no limit.
    """
    said = await _ask(
        server, {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}
    )
    if said is None or said.logprobs is None:
        return None
    tokens, values = said.logprobs.tokens, said.logprobs.token_logprobs
    if len(tokens) != len(values):
        return None
    for first in range(min(_FIRST_MAX, len(tokens))):
        length = 0
        for place, token in enumerate(tokens[first:], first + 1):
            length += len(token)
            if length >= len(text):
                if "".join(tokens[first:place]) == text:
                    return tokens[first:place], values[first:place]
                break
    return None


def _behind(chars: int, tokens: Sequence[str], values: Sequence[float | None]) -> Loss:
    """Of the tokens that end behind the first `chars` characters."""
    length, nats, count = 0, 0.0, 0
    for token, value in zip(tokens, values, strict=True):
        length += len(token)
        if length > chars:
            if value is None or not math.isfinite(value):
                return Loss()
            nats -= value
            count += 1
    return Loss(nats=nats, tokens=count)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE + 0.02 * abs(other)
