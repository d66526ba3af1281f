"""`flex`: ask at the flex tier while there is time to wait for room, then at the standard one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from ...chain import Handler
from ...exchange import Exchange
from ...metered import Prefixed
from ...openai.call import Endpoint
from ...openai.coding import plain as without_coding
from ...openai.document import read_object
from ...openai.rewrite import set_service_tier
from ...reply import BodyStream, Reply, header

ENDPOINTS: Final[tuple[Endpoint, ...]] = ("chat", "responses")
"""Those that have a flex tier."""
STANDARD: Final = "default"
"""The standard tier, as a request names it."""
_REFUSAL_BYTES_MAX: Final = 64 * 1024
_FIRST_WAIT_S: Final = 0.5
_WAIT_MAX_S: Final = 20.0
_WAITS_MIN: Final = 64
"""Of a long time to wait, so many longest pauses: the record has an attempt for each try."""
_SECOND: Final = 1_000_000_000

Sleep = Callable[[float], Awaitable[None]]


class NoRoom(Exception):
    """The flex tier has no room now: 429 resource unavailable, which costs nothing."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the flex tier has no room")
        self.retry_after_s = retry_after_s


class NotTaken(Exception):
    """This upstream, or this model, has no flex tier."""


async def ask_flex(
    exchange: Exchange,
    inner: Handler,
    until_ns: int,
    *,
    clock: Callable[[], int] = time.time_ns,
    sleep: Sleep = asyncio.sleep,
) -> Reply:
    """The reply of the flex tier; of the standard one when there was no room until `until_ns` (Unix time, by `clock`),
    or the upstream has no such tier.

    Each try is an attempt of the exchange. Pauses between them grow, are drawn at random, and are never shorter than a
    Retry-After. All else that an upstream says, other 429s too, is the reply. A body that cannot be rewritten safely,
    or an endpoint without tiers, goes as it came, and so does a call whose body names a tier where only a rule says
    flex. Raises what `inner` raises.
    """
    if _has_its_own(exchange):
        return await inner(exchange)
    body = without_coding(exchange.body.data or b"", exchange.header(b"content-encoding"))
    flex = set_service_tier(body, "flex") if body is not None and exchange.endpoint in ENDPOINTS else None
    if body is None or flex is None:
        return await inner(exchange)
    window_s = (until_ns - clock()) / _SECOND
    if window_s > 0:
        exchange.sent = flex
        try:
            return _marked(await _until_there_is_room(exchange, inner, until_ns, window_s, clock, sleep))
        except NoRoom:
            exchange.sent = set_service_tier(body, STANDARD)
        except NotTaken:
            exchange.sent = _as_before(body)
    else:
        exchange.sent = set_service_tier(body, STANDARD)
    return _marked(await inner(exchange))


def _has_its_own(exchange: Exchange) -> bool:
    """What the caller wrote comes before a rule, and its header before its body."""
    by_rule = exchange.deferral is not None and exchange.header(b"x-penstock-batch") is None
    return by_rule and exchange.call is not None and isinstance(exchange.call.service_tier, str)


async def _until_there_is_room(
    exchange: Exchange, inner: Handler, until_ns: int, window_s: float, clock: Callable[[], int], sleep: Sleep
) -> Reply:
    """Raises `NoRoom`, `NotTaken`."""
    pause = wait_random_exponential(multiplier=_FIRST_WAIT_S, max=max(_WAIT_MAX_S, window_s / _WAITS_MIN))

    def left_s() -> float:
        return (until_ns - clock()) / _SECOND

    def wait(state: RetryCallState) -> float:
        return min(max(pause(state), _retry_after(state)), max(left_s(), 0.0))

    def is_over(state: RetryCallState) -> bool:
        left = left_s()
        return left <= 0 or _retry_after(state) > left

    retrying = AsyncRetrying(retry=retry_if_exception_type(NoRoom), wait=wait, stop=is_over, sleep=sleep, reraise=True)
    return cast(Reply, await retrying(_try, exchange, inner, clock))


def _retry_after(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.retry_after_s if isinstance(error, NoRoom) else 0.0


async def _try(exchange: Exchange, inner: Handler, clock: Callable[[], int]) -> Reply:
    reply = await inner(exchange)
    if reply.status not in (400, 422, 429):
        return reply
    reply, data = await _read_refusal(reply)
    if data is None:
        return reply
    error = _error(without_coding(data, header(reply.headers, b"content-encoding")))
    if reply.status == 429:
        if _says_no_room(error):
            raise NoRoom(retry_after_s(reply, clock))
    elif _names_the_tier(error):
        raise NotTaken
    return reply


async def _read_refusal(reply: Reply) -> tuple[Reply, bytes | None]:
    """The reply with its body whole, and that; None, and the reply as it was, when it is longer than an error is."""
    if isinstance(reply.body, bytes):
        return reply, reply.body
    body = cast(BodyStream, reply.body)
    data = b""
    try:
        while piece := await body.read():
            data += piece
            if len(data) > _REFUSAL_BYTES_MAX:
                reply.body = Prefixed(data, body)
                return reply, None
    except BaseException:
        await body.aclose()
        raise
    await body.aclose()
    reply.body = data
    return reply, data


def _error(data: bytes | None) -> dict[str, Any]:
    document = read_object(data)
    error = document.get("error")
    return error if isinstance(error, dict) else document


def _says_no_room(error: dict[str, Any]) -> bool:
    """OpenAI calls it a 429 Resource Unavailable and has not said in which field, so that each is looked at."""
    return any("resource unavailable" in _words(error.get(name)) for name in ("code", "type", "message"))


def _names_the_tier(error: dict[str, Any]) -> bool:
    """As in `Invalid service_tier argument`, `Unsupported service_tier: flex` or `Unrecognized request argument`."""
    return error.get("param") == "service_tier" or any(
        "service tier" in _words(error.get(name)) for name in ("message", "detail")
    )


def _words(value: object) -> str:
    return value.lower().replace("_", " ") if isinstance(value, str) else ""


def _as_before(body: bytes) -> bytes | None:
    """For an upstream that has no flex tier: what the caller sent, which may itself have named one."""
    return set_service_tier(body, STANDARD) if "service_tier" in read_object(body) else None


def retry_after_s(reply: Reply, clock: Callable[[], int]) -> float:
    """The seconds that the reply asks to wait (`retry-after-ms`, or `Retry-After` in either form); 0: nothing said."""
    try:
        if (value := header(reply.headers, b"retry-after-ms")) is not None:
            return max(0.0, float(value) / 1000)
        if (value := header(reply.headers, b"retry-after")) is None:
            return 0.0
        if value.replace(b".", b"", 1).isdigit():
            return float(value)
        at = parsedate_to_datetime(value.decode("latin-1"))
        return max(0.0, at.timestamp() - clock() / _SECOND)
    except (ValueError, OverflowError):
        return 0.0


def _marked(reply: Reply) -> Reply:
    reply.headers.append((b"x-penstock-batch", b"flex"))
    return reply
