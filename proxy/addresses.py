"""Addresses in the settings: what is wrong with one, what is secret in it, and who can reach it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

_REFERENCE_IN_URL: Final = re.compile(r"((?:https?|rediss?|postgresql)://[^:@/?#]*:)((?:env|file):[^@]+)(@[^@]+)\Z")


def split(url: str) -> SplitResult | None:
    """The parts of an address; None for what is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def url_faults(url: str) -> Iterator[str]:
    """What is wrong with the address of an API: the ends of sentences that begin with its key."""
    parts = split(url)
    if parts is None or any(c.isspace() or not c.isprintable() for c in url):
        yield "is not an address"
    elif parts.scheme not in ("http", "https"):
        yield "must begin with http:// or https://"
    elif not parts.hostname:
        yield "has no host"
    elif parts.username is not None or parts.password is not None:
        yield "must not hold a user or password; use api_key"
    elif parts.query or parts.fragment or "?" in url or "#" in url:
        yield "must end with its path, without ? or #"
    elif ".." in parts.path.split("/"):
        yield "must not have .. in its path"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost is taken for reachable."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url_secret(url: str) -> tuple[str, str, str] | None:
    """What is before, in and after a password that is a reference: `http://user:env:NAME@host:8123/database`."""
    found = _REFERENCE_IN_URL.match(url)
    return None if found is None else (found[1], found[2], found[3])
