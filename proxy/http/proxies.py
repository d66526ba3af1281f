"""Forward proxies from the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # public, but not in typeshed

from ..errors import UpstreamFault
from ..reply import RawHeaders
from .message import Origin


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an origin: where the TCP connection goes, and what a proxy there needs to hear."""

    host: str
    port: int
    tunnel: bytes = b""
    """The authority to ask for with CONNECT; b"" when there is no tunnel."""
    absolute: bytes = b""
    """Goes before every target, when a proxy forwards plain requests."""
    credentials: RawHeaders = field(default_factory=list, repr=False)
    """Proxy-Authorization: in the CONNECT, or in every plain request."""


def route(origin: Origin, proxies: Mapping[str, str]) -> Route:
    """The way to `origin`; `proxies` as from `urllib.request.getproxies_environment()`.

    Loopback is always reached directly. Raises `UpstreamFault` connect_failed for a proxy that is not http://.
    """
    url = proxies.get(origin.scheme) or proxies.get("all")
    if not url or _is_loopback(origin.host):
        return Route(origin.host, origin.port)
    if proxy_bypass_environment(f"{origin.host}:{origin.port}", dict(proxies)):
        return Route(origin.host, origin.port)
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise UpstreamFault(
            f"The proxy for {origin.scheme} in the environment is not an http:// address. Set {origin.scheme}_proxy to "
            f"one, or add {origin.host} to no_proxy.",
            code="connect_failed",
        )
    credentials: RawHeaders = []
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials.append((b"Proxy-Authorization", b"Basic " + base64.b64encode(pair.encode())))
    authority = _with_port(origin)
    if origin.scheme == "https":
        return Route(parts.hostname, parts.port or 80, tunnel=authority, credentials=credentials)
    return Route(parts.hostname, parts.port or 80, absolute=b"http://" + origin.authority, credentials=credentials)


def _with_port(origin: Origin) -> bytes:
    """The authority with its port even where that is the scheme's own, as CONNECT wants it."""
    default = 443 if origin.scheme == "https" else 80
    return origin.authority + (b":%d" % default if origin.port == default else b"")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
