"""One question to one model, through the proxy, with the official SDK: what it answered, how fast, and for how much."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec
import openai

from ..errors import FinetuneError
from .examples import Example

TIMEOUT_S: Final = 600.0
"""Of one try; of all of them twice that."""
_TRIES: Final = 8
_LOOK_AT: Final = "/penstock/health"
_LOOK_TIMEOUT_S: Final = 10.0
_NOT_THE_QUESTIONS_FAULT: Final = frozenset({401, 402, 403, 404, 405, 407, 408, 409, 429})
_INSTEAD: Final[Mapping[str, str]] = {
    "temperature": "",
    "seed": "",
    "max_tokens": "max_completion_tokens",
    "parallel_tool_calls": "",
}
"""Parameters that some models refuse, and what they take instead; "" for nothing."""


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What came of a question."""

    text: str = ""
    tool_calls: list[dict[str, Any]] = []
    failure: str = ""
    """Why there is no answer: `http_400` and the code, or `unreadable`."""
    finish: str = ""
    request_id: str = ""
    """Of the proxy's record; "" when it was not the proxy that answered."""
    response_id: str = ""
    latency_s: float | None = None
    """From sending the question to the end of the reply, of the try that was answered."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    """None: not known."""
    without: list[str] = []
    """Parameters that the model refused and was then asked without."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How models answer; the same for all."""

    temperature: float | None = 0.0
    """None: as the server likes."""
    max_tokens: int = 1024
    seed: int = 0


def question(model: str, example: Example, sampling: Sampling) -> dict[str, Any]:
    """The body that asks `model` what the example answers."""
    body: dict[str, Any] = {"model": model, "messages": example.messages, "max_tokens": sampling.max_tokens}
    body["seed"] = sampling.seed
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if example.tools:
        body["tools"] = example.tools
        if example.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = example.parallel_tool_calls
    if example.response_format is not None:
        body["response_format"] = example.response_format
    return body


def check_address(url: str) -> None:
    """Raises `FinetuneError` when nobody can be asked at `url`."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        fit = False
    if not fit or " " in url:
        raise FinetuneError(f"{url!r} is no address of an API. Such as http://127.0.0.1:4100/v1: --url")


class Asker:
    """Asks one server. An async context manager; may be used by many tasks at once."""

    def __init__(self, url: str, api_key: str, *, tags: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        """`tags` tell these calls apart in the records."""
        self.url = url
        self._patience_s = 2 * timeout_s
        self._look: asyncio.Task[None] | None = None
        self._without: defaultdict[str, set[str]] = defaultdict(set)
        said = ",".join(f"{_plain(name)}={_plain(value)}" for name, value in tags.items())
        # A reply out of a cache, or one that waited for a batch, says nothing of how fast the model is.
        headers = {"x-penstock-cache": "off", "x-penstock-batch": "off", "x-penstock-tags": said}
        self._client = openai.AsyncOpenAI(
            base_url=url, api_key=api_key, max_retries=_TRIES, timeout=timeout_s, default_headers=headers
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._look is not None:
            self._look.cancel()
        await self._client.close()

    async def ask(self, body: dict[str, Any]) -> Answer:
        """The answer, or an `Answer` with the failure where the question itself is refused.

        Raises `FinetuneError` when nothing can be asked now: the server is away, or refuses the key or the model.
        """
        model = body["model"]
        while True:
            tried = self._adapted(model, body)
            try:
                return _answer(await self._post("/chat/completions", tried), sorted(self._without[model] & body.keys()))
            except openai.APIStatusError as error:
                refused = (error.param or "").removeprefix("body.")
                if error.status_code in (400, 422) and refused in _INSTEAD and refused in tried:
                    self._without[model].add(refused)
                    continue
                self._give_up(model, error)
                code = f"_{error.code}" if error.code else ""
                return Answer(failure=f"http_{error.status_code}{code}", request_id=_id(error.response.headers))

    async def complete(self, body: dict[str, Any]) -> bytes | None:
        """The reply of `/completions`, None when the server has none or refuses this. Raises `FinetuneError`."""
        try:
            return (await self._post("/completions", body)).content
        except openai.APIStatusError as error:
            if error.status_code in (401, 403, 429):
                self._give_up(body["model"], error)
            return None

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Raises `FinetuneError` when nobody answers, `openai.APIStatusError` when the answer is a refusal."""
        try:
            if self._look is None:
                self._look = asyncio.create_task(self._find())
            await asyncio.shield(self._look)
            async with asyncio.timeout(self._patience_s):
                return await self._client.post(path, cast_to=httpx.Response, body=body)
        except (TimeoutError, openai.APITimeoutError) as error:
            raise FinetuneError(
                f"{self.url} has no answer of {body['model']} within {self._patience_s:g} s. What was answered is "
                "kept: run it again."
            ) from error
        except openai.APIConnectionError as error:
            raise FinetuneError(
                f"{self.url} cannot be reached: is `penstock serve` running? What was answered is kept: run it again."
            ) from error

    async def _find(self) -> None:
        """Where nobody listens, say so at once: many tries are for a server that was there and went away.

        Asked of Penstock itself, so that nothing is recorded; any answer will do, and another server refuses.
        """
        with contextlib.suppress(openai.APIStatusError, openai.APITimeoutError):
            there = self._client.with_options(max_retries=0, timeout=_LOOK_TIMEOUT_S)
            await there.get(urljoin(self.url, _LOOK_AT), cast_to=httpx.Response)

    def _adapted(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        found = {name: value for name, value in body.items() if name not in self._without[model]}
        for name in self._without[model] & body.keys():
            if instead := _INSTEAD[name]:
                found[instead] = body[name]
        return found

    def _give_up(self, model: str, error: openai.APIStatusError) -> None:
        """Raises `FinetuneError` unless it is the question's fault. Never the message: it may quote what was asked."""
        if error.status_code >= 500 or error.status_code in _NOT_THE_QUESTIONS_FAULT:
            code = f" ({error.code})" if error.code else ""
            raise FinetuneError(
                f"{self.url} answers {error.status_code}{code} for {model}. What was answered is kept: run it again."
            ) from error


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    usage: _Usage | None = None


def _answer(reply: httpx.Response, without: list[str]) -> Answer:
    answer = Answer(request_id=_id(reply.headers), usd=_cost(reply.headers), without=without)
    try:
        found = msgspec.json.decode(reply.content, type=_Completion)
        choice = found.choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        answer.failure = "unreadable"
        return answer
    usage = found.usage or _Usage()
    answer.text = choice.message.content or choice.message.refusal or ""
    answer.tool_calls = choice.message.tool_calls or []
    answer.finish = choice.finish_reason or ""
    answer.response_id = found.id
    answer.latency_s = reply.elapsed.total_seconds()
    answer.input_tokens, answer.output_tokens = usage.prompt_tokens, usage.completion_tokens
    return answer


def _id(headers: Mapping[str, str]) -> str:
    return headers.get("x-penstock-request-id", "")


def _cost(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["x-penstock-cost-usd"])
    except (KeyError, ValueError):
        return None


def _plain(text: str) -> str:
    """For a header of `name=value` with commas between."""
    return "".join("_" if not char.isascii() or not char.isprintable() or char in ",=" else char for char in text)[:200]
