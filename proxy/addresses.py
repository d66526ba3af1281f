"""Addresses in the settings: what is wrong with one, what is secret in it, and who can reach it."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

_URL_CHARS_MAX: Final = 2048
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PRIVATE: Final = "must not lead to a private address, unless its host is one of batch.webhook_hosts"
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


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the internet's, and not within this machine, this network or a protocol."""
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or _translated(address) or address
    return address.is_global and not address.is_multicast


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """What a NAT64 gateway makes of it (RFC 6052)."""
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64 else None


def webhook_fault(url: str, hosts: Sequence[str] = ()) -> str:
    """Why nothing may be sent to `url`, as the end of a sentence; "" when it may, as far as the text itself can tell.

    To one of `hosts` it may go without TLS, and although its address is private. Where the name of another leads is
    known only when it is connected to.
    """
    parts = split(url)
    if len(url) > _URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"takes a URL of at most {_URL_CHARS_MAX} characters, with all but ASCII percent-encoded"
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "takes a URL that begins with https://"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password"
    host = parts.hostname
    if host in {one.lower() for one in hosts}:
        return ""
    if parts.scheme != "https":
        return "must begin with https://, unless its host is one of batch.webhook_hosts"
    literal = _literal(host)
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return _PRIVATE
    return _PRIVATE if literal is not None and not is_public(literal) else ""


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` spells, in the short and odd forms too that resolvers take (127.1, 0x7f000001)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None
