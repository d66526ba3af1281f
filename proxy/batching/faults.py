"""What types cannot say about `[batch]`: faults that stop Penstock, and problems that are worth a word."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from ..addresses import is_loopback, split, url_secret
from ..credentials import is_reference
from ..settings import Batch, BatchRule, Settings
from .callers.control import DEADLINE_MAX_S, wait_of

SECRET_CHARS_MIN = 16
_NOT_HERE = "a secret itself is not written into the file"


def faults(batch: Batch) -> Iterator[str]:
    """One line for each thing that makes the section unusable. Secrets must not be resolved yet."""
    yield from _url_faults(batch.url)
    for name, value in (("secret", batch.secret), ("webhook_secret", batch.webhook_secret)):
        if value and not is_reference(value):
            yield f"batch.{name}: write env:NAME or file:PATH; {_NOT_HERE}"
    if batch.poll_max_s < batch.poll_s:
        yield "batch.poll_max_s: must not be less than batch.poll_s"
    for index, host in enumerate(batch.webhook_hosts):
        if not host or "/" in host or host != host.strip():
            yield f"batch.webhook_hosts[{index}]: write a host alone, hooks.internal for instance"
    for index, rule in enumerate(batch.rules):
        if rule.deadline and not 0 < (wait_of(rule.deadline) or 0) <= DEADLINE_MAX_S:
            yield f"batch.rules[{index}].deadline: write 90s, 30m, 2h or 1d, up to 30 days"
        if not rule.models or not rule.paths or not rule.keys:
            yield f'batch.rules[{index}]: fits nothing; write models = ["*"], paths = ["*"] and keys = ["*"] for all'


def _url_faults(url: str) -> Iterator[str]:
    if not url or is_reference(url):
        return
    secret = url_secret(url)
    parts = split(url if secret is None else secret[0] + "x" + secret[2])
    if parts is None or parts.scheme != "postgresql" or not parts.hostname or not parts.path.strip("/"):
        yield 'batch.url: write an address such as postgresql://user@host/database, or "" for a file of its own'
    elif parts.password and secret is None:
        yield f"batch.url: write the password as env:NAME or file:PATH; {_NOT_HERE}"


def problems(settings: Settings) -> Iterator[str]:
    """One line for each thing that is probably not meant. Takes settings as `load` gives them."""
    batch = settings.batch
    if not batch.enabled:
        if any(upstream.batch == "local" for upstream in settings.upstreams):
            yield 'batch.enabled: is false, so batch = "local" of an upstream has no effect'
        return
    if batch.url and find_spec("psycopg") is None:
        yield "batch.url: the client library is not installed: pip install 'penstock[postgresql]'"
    parts = urlsplit(batch.url)
    if batch.url and not batch.secret and not is_loopback(parts.hostname or ""):
        yield "batch.secret: is needed where several machines share a queue, as each would seal keys with its own"
    if all(upstream.batch == "none" for upstream in settings.upstreams) and any(
        rule.batch in ("hold", "async") for rule in batch.rules
    ):
        yield 'batch.rules: no upstream takes deferred calls; give one batch = "provider" or "local"'
    for index, rule in enumerate(batch.rules[:-1]):
        if rule == BatchRule(batch=rule.batch, deadline=rule.deadline):
            yield f"batch.rules[{index}]: fits every call, so the rules after it are never reached"
            break
