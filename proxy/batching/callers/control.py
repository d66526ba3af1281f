"""What a call wants of batching: its own headers first, then the first rule that fits it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from ...addresses import webhook_fault
from ...errors import ClientFault
from ...openai.coding import plain
from ...settings import Batch, BatchRule

if TYPE_CHECKING:
    from ...exchange import Exchange

DEADLINE_MAX_S: Final = 30 * 86_400
FLEXIBLE: Final = ("chat", "responses")
"""Endpoints that have a flex tier."""
_MODES: Final = ("flex", "hold", "async", "off")
_KNOWN_MAX: Final = 1000
_SECOND: Final = 1_000_000_000
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WAIT: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([smhd])")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")

Mode = Literal["flex", "hold", "async"]


@dataclass(frozen=True, slots=True)
class Deferral:
    """How long a call may wait, and in what way."""

    mode: Mode
    deadline_ns: int
    """Unix time by which there must be an answer. With flex: until when the flex tier is tried."""
    webhook: str = ""
    """Told when an `async` call is answered."""


class _Wish(NamedTuple):
    """What headers or a rule say, before it is known whether the call can have it."""

    mode: Mode
    wait_s: float
    at_ns: int
    """Unix time; 0: counted from the call, `wait_s`."""
    webhook: str
    asked: bool
    """By the call itself, which is then told why it cannot be. What only a rule wanted is left as it is."""


class Schedules:
    """From exchanges to what they want. What was understood of headers once is not understood again."""

    def __init__(
        self, settings: Batch, runner: Callable[[Exchange], str], *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """`runner` notes the upstream that a call would go to and gives its `batch`: provider, local or none."""
        self._settings = settings
        self._runner = runner
        self._clock = clock
        self._known: dict[tuple[object, ...], _Wish | None] = {}

    def __call__(self, exchange: Exchange) -> Deferral | None:
        """None for a call that is to be asked now. Raises `ClientFault` for what cannot be meant, or cannot be done."""
        fields = exchange.fields
        asked, webhook = fields.get(b"x-penstock-batch"), fields.get(b"x-penstock-webhook")
        rules = self._settings.rules
        if asked is None and webhook is None and not rules:
            return None
        rule = next((one for one in rules if _fits(one, exchange)), None) if asked is None else None
        wish = self._wish(asked, fields.get(b"x-penstock-deadline"), webhook, rule)
        if wish is not None and (obstacle := self._obstacle(wish, exchange)) is not None:
            if wish.asked:
                raise obstacle
            wish = None
        if webhook is not None and (wish is None or wish.mode != "async"):
            raise _wrong("x-penstock-webhook", "invalid_webhook", "goes with x-penstock-batch: async alone")
        return None if wish is None else Deferral(wish.mode, self._deadline_ns(wish), wish.webhook)

    def _wish(
        self, asked: bytes | None, deadline: bytes | None, webhook: bytes | None, rule: BatchRule | None
    ) -> _Wish | None:
        name = (asked, deadline, webhook, id(rule))
        if name in self._known:
            return self._known[name]
        wish = _read(asked, deadline, webhook, rule, self._settings)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[name] = wish
        return wish

    def _deadline_ns(self, wish: _Wish) -> int:
        now_ns = self._clock()
        at_ns = wish.at_ns or now_ns + int(wish.wait_s * _SECOND)
        if at_ns <= now_ns:
            raise _wrong("x-penstock-deadline", "invalid_deadline", "must be in the future")
        if at_ns - now_ns > DEADLINE_MAX_S * _SECOND:
            raise _wrong("x-penstock-deadline", "invalid_deadline", "must be within 30 days")
        return at_ns

    def _obstacle(self, wish: _Wish, exchange: Exchange) -> ClientFault | None:
        """Why this call cannot have its wish."""
        if wish.mode == "flex":
            return None if exchange.endpoint in FLEXIBLE else _cannot("this endpoint has no flex tier")
        call = exchange.call
        if exchange.endpoint == "other" or call is None:
            return _cannot("this endpoint has no batches")
        if exchange.query:
            return _cannot("the lines of a batch have no query")
        if not call.model:
            return ClientFault("A call that may wait must name its model.", code="missing_model", param="model")
        if call.background:
            return _cannot("a background response waits at the provider; leave out background")
        if wish.mode == "async" and call.stream:
            return _cannot(
                "there is nobody to stream to; leave out stream, or use x-penstock-batch: hold, which streams the "
                "reply when it is there"
            )
        if self._is_too_long(exchange):
            return ClientFault(
                f"A call that may wait must not be larger than {self._settings.item_bytes_max} bytes. Send less, send "
                "it without x-penstock-batch, or raise batch.item_bytes_max.",
                code="body_too_large",
                status=413,
            )
        if self._runner(exchange) == "none":
            return _cannot(f'the upstream {exchange.upstream} takes no batches (its batch is "none")')
        return None

    def _is_too_long(self, exchange: Exchange) -> bool:
        body, bytes_max = exchange.body.data or b"", self._settings.item_bytes_max
        if len(body) > bytes_max:
            return True
        coding = exchange.header(b"content-encoding")
        if coding is None:
            return False
        decoded = plain(body, coding, bytes_max + 1)
        return decoded is None or len(decoded) > bytes_max


def _read(
    asked: bytes | None, deadline: bytes | None, webhook: bytes | None, rule: BatchRule | None, settings: Batch
) -> _Wish | None:
    mode = _mode(asked) if asked is not None else rule.batch if rule is not None else "off"
    if mode == "off":
        return None
    wait_s, at_ns = settings.flex_wait_s if mode == "flex" else settings.deadline_s, 0
    if deadline is not None:
        wait_s, at_ns = _deadline(deadline)
    elif rule is not None and rule.deadline:
        wait_s = wait_of(rule.deadline) or wait_s
    return _Wish(cast(Mode, mode), wait_s, at_ns, _webhook(webhook, settings.webhook_hosts), asked is not None)


def wait_of(text: str) -> float | None:
    """Seconds of `90s`, `30m`, `2h` or `1d`; None for other text."""
    found = _WAIT.fullmatch(text.strip())
    return float(found[1]) * _UNITS_S[found[2]] if found is not None else None


def _fits(rule: BatchRule, exchange: Exchange) -> bool:
    model = exchange.call.model if exchange.call is not None else ""
    if not any(fnmatchcase(model, pattern) for pattern in rule.models):
        return False
    if not any(fnmatchcase(exchange.path, pattern) for pattern in rule.paths):
        return False
    if not any(fnmatchcase(exchange.key_id, pattern) for pattern in rule.keys):
        return False
    tags = exchange.tags
    return all(name in tags and fnmatchcase(tags[name], pattern) for name, pattern in rule.tags.items())


def _mode(value: bytes) -> str:
    mode = value.decode("latin-1").strip().lower()
    if mode not in _MODES:
        raise _wrong("x-penstock-batch", "invalid_batch_mode", "takes flex, hold, async or off")
    return mode


def _deadline(value: bytes) -> tuple[float, int]:
    """Seconds from now, or a Unix time; the other one is 0."""
    text = value.decode("latin-1").strip()
    wait_s = wait_of(text)
    if wait_s is not None:
        return wait_s, 0
    if _MOMENT.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.upper())
            return 0.0, max(1, int(moment.timestamp() * _SECOND))
        except (ValueError, OverflowError):
            pass
    raise _wrong(
        "x-penstock-deadline", "invalid_deadline", "takes 90s, 30m, 2h, 1d, or a time such as 2026-11-23T18:00:00Z"
    )


def _webhook(value: bytes | None, hosts: tuple[str, ...]) -> str:
    if value is None:
        return ""
    url = value.decode("latin-1").strip()
    fault = webhook_fault(url, hosts)
    if fault:
        raise _wrong("x-penstock-webhook", "invalid_webhook", fault)
    return url


def _cannot(why: str) -> ClientFault:
    return ClientFault(f"The call cannot wait: {why}.", code="not_batchable", param="x-penstock-batch")


def _wrong(header: str, code: str, what: str) -> ClientFault:
    return ClientFault(f"{header} {what}.", code=code, param=header)
