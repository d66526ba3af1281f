"""Ask an upstream one item of the queue, live: as the call that it was, until there is an answer or its deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Row
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_exponential, wait_random

from exporters.record import Attempt, Outcome
from exporters.trace_context import new_span_id

from ...chain import Handler
from ...errors import ClientFault, PenstockError, UpstreamFault
from ...exchange import Exchange, RequestBody
from ...http.headers import without
from ...openai.call import read_call
from ...openai.coding import plain
from ...reply import BodyStream, RawHeaders, Reply, header
from ..item import BATCHABLE, Answer, Context, decode_context
from .flex import ask_flex, retry_after_s

TRIES_MAX: Final = 5
"""Of what an upstream refuses for a while (408, 429, 5xx) or does not answer at all."""
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
STANDARD_WITHIN_S: Final = 120.0
"""Before the deadline, for the standard tier; a third of the time when that is less."""
_FIRST_WAIT_S: Final = 2.0
_WAIT_MAX_S: Final = 60.0
_KEPT_HEADERS: Final = (b"content-type", b"x-request-id", b"retry-after", b"x-should-retry")
_SECOND: Final = 1_000_000_000

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[None]]


class Asked(NamedTuple):
    """What became of it, and what its record is to say."""

    answer: Answer
    attempts: list[Attempt]
    outcome: Outcome
    error_type: str
    taken_ns: int


@dataclass(slots=True, eq=False)
class _Unanswered(Exception):
    """A try that may be repeated, and what would be the answer if it is not."""

    answer: Answer
    outcome: Outcome
    error_type: str
    retry_after_s: float


async def ask(
    row: Row[Any],
    credential: RawHeaders,
    inner: Handler,
    *,
    clock: Clock = time.time_ns,
    sleep: Sleep = asyncio.sleep,
) -> Asked:
    """The answer to an item (a row of `items`), which may be an error: then it has OpenAI's envelope.

    With a tier it is asked at the flex tier while that leaves time for the standard one. Network faults and refusals
    that pass are tried again, all other replies are the answer. Never raises but when it is cancelled.
    """
    exchange = exchange_of(row, credential, clock())
    taken_ns = exchange.start_ns
    left_s = (row.deadline_ns - taken_ns) / _SECOND
    handler = inner
    if row.tier:
        flex_s = left_s - min(STANDARD_WITHIN_S, left_s / 3) if row.tier == "flex" else 0.0
        handler = partial(_flex, inner, taken_ns + int(flex_s * _SECOND), clock, sleep)
    try:
        if left_s <= 0:
            raise TimeoutError
        async with asyncio.timeout(left_s):
            answer = await _persistently(exchange, handler, row.deadline_ns, clock, sleep)
    except TimeoutError:
        return Asked(_error(_late()), exchange.attempts, "failed", _late().code, taken_ns)
    except _Unanswered as last:
        return Asked(last.answer, exchange.attempts, last.outcome, last.error_type, taken_ns)
    except PenstockError as error:
        outcome: Outcome = "rejected" if isinstance(error, ClientFault) else "failed"
        return Asked(_error(error), exchange.attempts, outcome, error.code, taken_ns)
    return Asked(answer, exchange.attempts, "answered", "", taken_ns)


def refused(error: PenstockError, taken_ns: int) -> Asked:
    """The answer to an item that cannot be asked."""
    return Asked(_error(error), [], "failed", error.code, taken_ns)


def exchange_of(row: Row[Any], credential: RawHeaders, now_ns: int) -> Exchange:
    """The call that an item stands for, as the worker would have sent it on."""
    context = _context(row)
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        *without(context.headers, b"content-type", b"accept", b"accept-encoding", b"content-encoding"),
        *credential,
    ]
    names = [name.lower() for name, _ in headers]
    body = RequestBody(None, len(row.body), len(row.body))
    body.data, body.received = row.body, len(row.body)
    return Exchange(
        request_id=context.request_id,
        trace_id=context.trace_id,
        span_id=new_span_id(),
        parent_span_id="",  # the caller's trace goes no further than the queue
        trace_state=context.trace_state,
        start_ns=now_ns,
        started_s=0.0,
        method="POST",
        path=row.path,
        query="",
        headers=headers,
        names=names,
        fields=dict(zip(reversed(names), (value for _, value in reversed(headers)), strict=True)),
        body=body,
        endpoint=BATCHABLE.get(row.path, "other"),
        call=_call(row.body),
        key_id=context.key_id,
        session=context.session,
        upstream=row.upstream,
        item_id=row.id,
    )


def _context(row: Row[Any]) -> Context:
    return decode_context(row.context)


def _call(body: bytes) -> Any:
    try:
        return read_call(body)
    except ClientFault:
        return None  # The upstream's to judge.


async def _flex(inner: Handler, until_ns: int, clock: Clock, sleep: Sleep, exchange: Exchange) -> Reply:
    return await ask_flex(exchange, inner, until_ns, clock=clock, sleep=sleep)


async def _persistently(exchange: Exchange, handler: Handler, deadline_ns: int, clock: Clock, sleep: Sleep) -> Answer:
    """Raises `_Unanswered` when the last try was in vain, and `PenstockError`."""
    pause = wait_exponential(_FIRST_WAIT_S, max=_WAIT_MAX_S, exp_base=3) + wait_random(0, _FIRST_WAIT_S)

    def wait(state: RetryCallState) -> float:
        return max(pause(state), _unanswered(state).retry_after_s)

    def is_over(state: RetryCallState) -> bool:
        left_s = (deadline_ns - clock()) / _SECOND
        return state.attempt_number >= TRIES_MAX or state.upcoming_sleep >= left_s

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(_Unanswered), wait=wait, stop=is_over, sleep=sleep, reraise=True
    )
    return cast(Answer, await retrying(_try, exchange, handler, clock))


def _unanswered(state: RetryCallState) -> _Unanswered:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, _Unanswered)
    return error


async def _try(exchange: Exchange, handler: Handler, clock: Clock) -> Answer:
    try:
        reply = await handler(exchange)
        answer = await _whole(reply)
    except UpstreamFault as fault:
        raise _Unanswered(_error(fault), "failed", fault.code, 0.0) from fault
    if answer.status in (408, 429) or answer.status >= 500:
        raise _Unanswered(answer, "answered", "", retry_after_s(reply, clock))
    return answer


async def _whole(reply: Reply) -> Answer:
    """Raises `UpstreamFault`."""
    data = reply.body if isinstance(reply.body, bytes) else await _read(cast(BodyStream, reply.body))
    body = plain(data, header(reply.headers, b"content-encoding"), ANSWER_BYTES_MAX)
    if body is None:
        raise UpstreamFault("The upstream's reply has a content coding that cannot be undone.", code="upstream_coding")
    kept = [
        (name, value)
        for name, value in reply.headers
        if name.lower() in _KEPT_HEADERS or name.lower().startswith(b"openai-")
    ]
    return Answer(status=reply.status, headers=kept, body=body)


async def _read(body: BodyStream) -> bytes:
    pieces, size = [], 0
    try:
        while piece := await body.read():
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_BYTES_MAX:
                raise UpstreamFault(f"The reply is larger than {ANSWER_BYTES_MAX} bytes.", code="upstream_too_long")
    finally:
        await body.aclose()
    return b"".join(pieces)


def _late() -> PenstockError:
    return UpstreamFault(
        "The deadline of this call has passed, and there is no answer. Send it again, with more time.",
        code="batch_deadline_exceeded",
        status=504,
    )


def _error(error: PenstockError) -> Answer:
    reply = error.reply()
    return Answer(status=reply.status, headers=reply.headers, body=cast(bytes, reply.body))
