"""One question to a stronger model, through the proxy, with the official SDK: what it answered, or why it did not.

Each question carries an `Idempotency-Key` made of what it asks: one that waits for a batch is joined again by a run
that was killed, and not asked twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urljoin

import httpx
import msgspec
import openai

from ..assembling.assembly import BYTES_A_TOKEN
from ..example import Example, Message, answer

Waiting = Literal["off", "hold", "async"]
"""Whether an answer may wait, at half the price, as the header `x-penstock-batch` has it."""

_LIVE_TIMEOUT_S: Final = 600.0
_WAITING_TIMEOUT_S: Final = 26 * 3600.0
"""A batch has 24 hours."""
_POLL_MAX_S: Final = 60.0
_TRIES: Final = 8
_REUSED: Final = frozenset({"hit", "semantic", "coalesced"})
_NOT_THE_QUESTIONS_FAULT: Final = frozenset({401, 403, 404, 408, 409, 429})
_encode: Final = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What came of a question. Scrubbed before it is kept."""

    request_id: str
    message: Message | None = None
    failure: str = ""
    """Why there is no message: the name of a `Reason`, or `http_400`."""
    finish: str = ""
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    """None: not known."""


class Unanswered(Exception):
    """The model or the proxy cannot be asked now: it is down, refuses the key or the model, or is over its limits."""


def question_of(example: Example, model: str) -> dict[str, Any]:
    """The body that asks what the example answers: all before its last message, tools and response format."""
    body: dict[str, Any] = {"model": model, "messages": example.messages[:-1]}
    if example.tools:
        body["tools"] = example.tools
        if example.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = example.parallel_tool_calls
    if example.response_format is not None:
        body["response_format"] = example.response_format
    return body


def tokens_of(example: Example) -> tuple[int, int]:
    """Input and output, as they were counted or about."""
    said = example.output_tokens
    if said is None:
        said = round(len(msgspec.json.encode(answer(example))) / BYTES_A_TOKEN)
    return max(0, example.tokens - said), said


class Asker:
    """Asks one proxy. An async context manager; may be used by many tasks at once."""

    def __init__(self, url: str, api_key: str, *, dataset: str, waiting: Waiting = "hold", poll_s: float = 5.0) -> None:
        self._url = url
        self._waiting = waiting
        self._poll_s = poll_s
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=api_key,
            max_retries=_TRIES,
            timeout=_LIVE_TIMEOUT_S if waiting == "off" else _WAITING_TIMEOUT_S,
        )
        # Tags are `name=value` with commas between.
        tag = dataset.replace(",", "_").replace("=", "_")
        self._headers = {"x-penstock-cache": "on", "x-penstock-batch": waiting, "x-penstock-tags": f"dataset={tag}"}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def ask(self, request_id: str, body: dict[str, Any]) -> Answer:
        """The answer, or an `Answer` with the failure where this question can never be answered.

        Raises `Unanswered` when it may be later, after the SDK has tried again for a while.
        """
        key = hashlib.blake2b(_encode([request_id, body]), digest_size=20).hexdigest()
        headers = self._headers | {"Idempotency-Key": f"relabel-{key}"}
        try:
            reply = await self._client.post(
                "/chat/completions", cast_to=httpx.Response, body=body, options={"headers": headers}
            )
            if reply.status_code == 202:
                reply = await self._fetch(reply)
        except openai.APIStatusError as error:
            # What is wrong with a header of ours is wrong with every question.
            ours = (error.param or "").startswith("x-penstock-")
            if ours or error.status_code >= 500 or error.status_code in _NOT_THE_QUESTIONS_FAULT:
                raise Unanswered(f"{self._url} answers {error.status_code}{_code(error)}") from error
            return Answer(request_id=request_id, failure=f"http_{error.status_code}")
        except openai.APIConnectionError as error:
            raise Unanswered(f"{self._url} cannot be reached") from error
        return _answer(request_id, reply)

    async def _fetch(self, ticket: httpx.Response) -> httpx.Response:
        """The reply that a ticket stands for, when it is there."""
        place = urljoin(self._url, ticket.headers.get("location", ""))
        pause_s = self._poll_s
        while True:
            await asyncio.sleep(pause_s)
            reply = await self._client.get(place, cast_to=httpx.Response)
            if reply.status_code != 202:
                return reply
            pause_s = min(pause_s * 1.5, _POLL_MAX_S)


def _code(error: openai.APIStatusError) -> str:
    """Never the message: it may quote what was asked."""
    return f" ({error.code})" if error.code else ""


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Part(msgspec.Struct):
    type: str


class _Message(msgspec.Struct):
    """The shapes that judging relies on."""

    content: str | list[_Part] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    message: dict[str, Any]
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


def _answer(request_id: str, reply: httpx.Response) -> Answer:
    try:
        found = msgspec.json.decode(reply.content, type=_Completion)
        choice = found.choices[0]
        msgspec.convert(choice.message, _Message)
    except (msgspec.DecodeError, IndexError):
        return Answer(request_id=request_id, failure="unreadable", usd=_cost(reply.headers))
    usage = found.usage or _Usage()
    return Answer(
        request_id=request_id,
        message=choice.message,
        finish=choice.finish_reason or "",
        model=found.model,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        usd=_cost(reply.headers),
    )


def _cost(headers: Mapping[str, str]) -> float | None:
    if headers.get("x-penstock-cache") in _REUSED:
        return 0.0
    try:
        return float(headers["x-penstock-cost-usd"])
    except (KeyError, ValueError):
        return None
