"""WebSockets on both sides (aiohttp): whole messages are handed over, each side keeps its own frames and pings."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import Mapping

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from ..errors import UpstreamFault
from ..reply import RawHeaders, Tunnel
from .answer import Sent
from .message import Origin
from .proxies import route

_HANDSHAKE = frozenset(
    {
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
    }
)
"""Made anew for the upstream's side; the subprotocols are handed to the client library."""

_UNSENDABLE = (1005, 1006)
"""They report that no code came, or that the connection just ended; no frame may carry them."""


class Refused(UpstreamFault):
    """The upstream answered the handshake with an ordinary reply; `http_status` and `headers` are its own."""

    def __init__(self, status: int, headers: RawHeaders) -> None:
        super().__init__(
            f"The upstream refused the WebSocket with status {status}.", code="websocket_refused", status=status
        )
        self.headers = headers


class UpstreamTunnel:
    """The upstream's side of one WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.protocol = socket.protocol

    @property
    def close_code(self) -> int:
        return self._socket.close_code or WSCloseCode.ABNORMAL_CLOSURE

    async def receive(self) -> str | bytes | None:
        message = await self._socket.receive()
        return message.data if message.type in (WSMsgType.TEXT, WSMsgType.BINARY) else None

    async def send(self, message: str | bytes) -> None:
        try:
            await (self._socket.send_str(message) if isinstance(message, str) else self._socket.send_bytes(message))
        except ConnectionError as error:
            raise UpstreamFault("The upstream closed the WebSocket.", code="upstream_cut") from error

    async def aclose(self, code: int = 1000, reason: bytes = b"") -> None:
        await self._socket.close(code=WSCloseCode.GOING_AWAY if code in _UNSENDABLE else code, message=reason)


class Tunneler:
    """Opens the upstream's side. One client session for all, made at the first use inside the loop."""

    def __init__(self, *, message_bytes_max: int, proxies: Mapping[str, str] | None = None) -> None:
        """`proxies`: scheme to URL, by default those of the environment."""
        self._message_bytes_max = message_bytes_max
        self._proxies = urllib.request.getproxies_environment() if proxies is None else proxies
        self._session: aiohttp.ClientSession | None = None

    async def connect(
        self,
        origin: Origin,
        target: bytes,
        headers: RawHeaders,
        protocols: tuple[str, ...],
        *,
        connect_s: float,
        tls: ssl.SSLContext | None,
    ) -> Tunnel:
        """Raises `Refused` when the upstream answers with anything but 101, `UpstreamFault` when it cannot be had."""
        if self._session is None:
            # Cookies are each caller's own affair: a jar would send those of one with the call of another. Nor is the
            # environment trusted, which is more than proxies: a .netrc would lend our credentials to callers.
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        scheme = "wss" if origin.scheme == "https" else "ws"
        url = f"{scheme}://{origin.authority.decode()}{target.decode('latin-1')}"
        there = route(origin, self._proxies)
        fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if n.lower() not in _HANDSHAKE]
        credentials = [(n.decode(), v.decode()) for n, v in there.credentials]
        if there.absolute:  # the proxy reads the request itself; there is no CONNECT to carry them
            fields += credentials
        try:
            async with asyncio.timeout(connect_s or None):
                socket = await self._session.ws_connect(
                    URL(url, encoded=True),
                    headers=fields,
                    protocols=protocols,
                    max_msg_size=self._message_bytes_max,
                    ssl=tls if tls is not None else True,
                    proxy=f"http://{there.host}:{there.port}" if there.tunnel or there.absolute else None,
                    proxy_headers=dict(credentials) if there.tunnel else None,
                )
        except aiohttp.WSServerHandshakeError as error:
            answered = [(n.encode(), v.encode()) for n, v in (error.headers or {}).items()]
            raise Refused(error.status, answered) from error
        except TimeoutError as error:
            raise UpstreamFault(
                f"The upstream did not accept the WebSocket within {connect_s} s.", code="connect_timeout", status=504
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFault(
                f"The upstream cannot be reached for a WebSocket: {type(error).__name__}.", code="connect_failed"
            ) from error
        return UpstreamTunnel(socket)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


async def bridge(request: web.BaseRequest, tunnel: Tunnel, message_bytes_max: int) -> Sent:
    """Accept the caller's side and hand messages over both ways until one side closes; the other then closes alike."""
    caller = web.WebSocketResponse(
        protocols=(tunnel.protocol,) if tunnel.protocol else (), max_msg_size=message_bytes_max, decode_text=True
    )
    try:
        await caller.prepare(request)
        down = asyncio.ensure_future(_down(tunnel, caller))
        try:
            await _up(caller, tunnel)
            await tunnel.aclose(caller.close_code or WSCloseCode.ABNORMAL_CLOSURE)
        finally:
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)
    finally:
        await tunnel.aclose(WSCloseCode.ABNORMAL_CLOSURE)
    return Sent(keep_alive=False)


async def _up(caller: web.WebSocketResponse, tunnel: Tunnel) -> None:
    async for message in caller:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            try:
                await tunnel.send(message.data)
            except UpstreamFault:
                return


async def _down(tunnel: Tunnel, caller: web.WebSocketResponse) -> None:
    while (message := await tunnel.receive()) is not None:
        await (caller.send_str(message) if isinstance(message, str) else caller.send_bytes(message))
    code = tunnel.close_code
    lost = code == WSCloseCode.ABNORMAL_CLOSURE
    await caller.close(code=WSCloseCode.INTERNAL_ERROR if lost else WSCloseCode.OK if code in _UNSENDABLE else code)
