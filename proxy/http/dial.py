"""Opens connections: name, TCP by happy eyeballs (RFC 8305), a proxy's tunnel, TLS. Says which of them failed."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

from aiohappyeyeballs import start_connection

from ..errors import UpstreamFault
from .connection import Connection
from .h1 import ResponseParser
from .message import Origin
from .proxies import Route

_HAPPY_EYEBALLS_DELAY_S = 0.25
_TLS_SHUTDOWN_TIMEOUT_S = 2.0
_KEEPALIVE_S = 60
"""Silence after which TCP asks whether the peer is still there; long generations are silent behind NAT gateways."""


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the system's authorities (SSL_CERT_FILE is respected), or those in `ca_file` alone.

    Raises `UpstreamFault` tls_failure when the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UpstreamFault(
            f"The certificate authorities in {ca_file} cannot be read: {error}. Correct ca_file.", code="tls_failure"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    origin: Origin, route: Route, tls: ssl.SSLContext | None, timeout_s: float, new: Callable[[], Connection]
) -> Connection:
    """A connection to `origin`, made by `new`. Nothing stays open after an error or a cancellation.

    Raises `UpstreamFault`: connect_timeout, dns_failure, connection_refused, connect_failed, tls_failure.
    """
    peer = f"{origin.host}:{origin.port}"
    try:
        async with asyncio.timeout(timeout_s or None):
            sock = await _connect(route)
            try:
                if route.tunnel:
                    await _open_tunnel(sock, route)
                return await _attach(sock, origin, tls, timeout_s, new)
            except BaseException:
                sock.close()
                raise
    except TimeoutError as error:
        raise UpstreamFault(
            f"No connection to {peer} within {timeout_s:g} s. Check the upstream's base_url and the network, or raise "
            "connect_timeout_s.",
            code="connect_timeout",
            status=504,
        ) from error


async def _connect(route: Route) -> socket.socket:
    loop = asyncio.get_running_loop()
    peer = f"{route.host}:{route.port}"
    try:
        addresses = await loop.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise UpstreamFault(
            f"The host name {route.host} cannot be resolved. Check the upstream's base_url and DNS.", code="dns_failure"
        ) from error
    try:
        sock = await start_connection(addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY_S, loop=loop)
    except TimeoutError as error:
        if error.errno is None:  # ours, from `dial`
            raise
        raise UpstreamFault(f"No answer from {peer}: {error.strerror}.", code="connect_timeout", status=504) from error
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            message = f"{peer} refuses connections. Check that the upstream runs and that its base_url is right."
            raise UpstreamFault(message, code="connection_refused") from error
        raise UpstreamFault(f"Cannot connect to {peer}: {error.strerror or error}.", code="connect_failed") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
    return sock


async def _open_tunnel(sock: socket.socket, route: Route) -> None:
    """CONNECT (RFC 9110, section 9.3.6). Any 2xx opens the tunnel."""
    loop = asyncio.get_running_loop()
    proxy = f"{route.host}:{route.port}"
    lines = [b"CONNECT %b HTTP/1.1" % route.tunnel, b"Host: " + route.tunnel]
    lines += [b"%b: %b" % field for field in route.credentials]
    parser = ResponseParser(proxy)
    parser.begin(b"HEAD")  # a reply to CONNECT has no body either
    try:
        await loop.sock_sendall(sock, b"\r\n".join([*lines, b"\r\n"]))
        while not parser.head_complete:
            data = await loop.sock_recv(sock, 65536)
            parser.feed(data) if data else parser.eof()
    except (UpstreamFault, ConnectionError) as error:
        raise UpstreamFault(
            f"No tunnel through the proxy {proxy}: it broke off or does not speak HTTP. Check the proxy settings.",
            code="connect_failed",
        ) from error
    if not 200 <= parser.status < 300:
        raise UpstreamFault(
            f"The proxy {proxy} refused a tunnel with status {parser.status}. Check the proxy settings.",
            code="connect_failed",
        )


async def _attach(
    sock: socket.socket, origin: Origin, tls: ssl.SSLContext | None, timeout_s: float, new: Callable[[], Connection]
) -> Connection:
    loop = asyncio.get_running_loop()
    if tls is None:
        _, connection = await loop.create_connection(new, sock=sock)
        return connection
    try:
        _, connection = await loop.create_connection(
            new,
            sock=sock,
            ssl=tls,
            server_hostname=origin.host,
            ssl_handshake_timeout=timeout_s or None,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_TIMEOUT_S,
        )
    except ssl.SSLCertVerificationError as error:
        raise UpstreamFault(
            f"The certificate of {origin.host}:{origin.port} is not trusted: {error.verify_message}. Check the "
            "upstream's base_url, or set ca_file to its authority.",
            code="tls_failure",
        ) from error
    except (ssl.SSLError, ConnectionError, ValueError) as error:
        raise UpstreamFault(
            f"TLS with {origin.host}:{origin.port} failed: {error}. Check that the upstream speaks HTTPS there.",
            code="tls_failure",
        ) from error
    return connection
