"""Make something at the provider exactly once, whatever dies in between.

Intent is on disk before the request is sent. When no answer came, because the network, the provider or this process
died, the thing is looked for by what only it can be: a file by its name, in which the run and the content are, a job
by the file that it trains on. Only when it is surely not there it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_none

from .provider import Lost, Provider, Refused
from .state import Asked


def once(
    thing: Asked,
    provider: Provider,
    *,
    find: Callable[[], str | None],
    make: Callable[[], str],
    save: Callable[[], None],
) -> None:
    """Give `thing` its id. Raises `Refused`: it is not there and will not be; `Lost`: it may be, and can be gone on."""

    def look_and_make() -> None:
        if thing.asked and (found := _looked_for(thing, provider, find)):
            _noted(thing, found, save)
            return
        thing.asked = provider.clock()
        save()
        try:
            made = make()
        except Refused as refused:
            if refused.status >= 400:  # A strange answer of success may come from one that did it.
                _forgotten(thing, save)
            raise
        except Lost as lost:
            if lost.maybe_done:  # It may have been at work up to now, so lists lag behind from now on.
                thing.asked = provider.clock()
                save()
            else:
                _forgotten(thing, save)
            provider.note(f"{lost} It is looked at whether it was done.")
            provider.sleep(max(provider.pace.poll_s, min(lost.retry_after_s, provider.pace.poll_max_s)))
            raise
        _noted(thing, made, save)

    if not thing.id:
        retrying = Retrying(
            retry=retry_if_exception_type(Lost),
            wait=wait_none(),
            stop=stop_after_delay(provider.patience_s),
            sleep=provider.sleep,
            reraise=True,
        )
        retrying(look_and_make)


def _looked_for(thing: Asked, provider: Provider, find: Callable[[], str | None]) -> str | None:
    """Until it is there, or surely is not: a request may still be at work, and lists may lag behind.

    What decides is a look that began when all was settled, however long one before it took or this process stood still.
    """
    # Of a clock that was set back the time of asking lies ahead.
    until = min(thing.asked, provider.clock()) + provider.pace.settle_s
    while True:
        left_s = until - provider.clock()
        if (found := find()) is not None or left_s <= 0:
            return found
        provider.sleep(min(provider.pace.poll_s, left_s))


def _noted(thing: Asked, found: str, save: Callable[[], None]) -> None:
    thing.id, thing.asked = found, 0.0
    save()


def _forgotten(thing: Asked, save: Callable[[], None]) -> None:
    thing.asked = 0.0
    save()
