"""Requests to addresses that callers name: never into this machine or its network, never far, never for long."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Collection, Mapping
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from ..addresses import is_public, webhook_fault

TIMEOUT_S: Final = 10.0
"""For the whole of a delivery."""
_CONNECTIONS_MAX: Final = 64


class Forbidden(Exception):
    """Nothing may be sent there, now or later. The message is the end of a sentence and does not hold the URL."""


class Undelivered(Exception):
    """It did not arrive, or nobody said so. The message does not hold the URL."""


class Deliverer:
    """Posts small bodies. Where a name leads is judged at the moment of connecting, so that it cannot change after."""

    def __init__(
        self,
        hosts: Collection[str] = (),
        *,
        timeout_s: float = TIMEOUT_S,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`hosts` may be private, and without TLS. Belongs to the event loop that first uses it."""
        self._hosts = tuple(host.lower() for host in hosts)
        self._timeout_s = timeout_s
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the reply, of which nothing else is read. No redirect is followed.

        Raises `Forbidden` and `Undelivered`.
        """
        fault = webhook_fault(url, self._hosts)
        if fault:
            raise Forbidden(fault)
        session = self._open()
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
                response.close()  # and the connection with it: what else comes is not for us
                return status
        except TimeoutError as error:
            raise Undelivered(f"no reply within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            private = _private(error)
            if private is not None:
                raise Forbidden(str(private)) from error
            raise Undelivered(type(error).__name__) from error

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Judge(self._resolver or ThreadedResolver(), self._hosts),
                use_dns_cache=False,
                force_close=True,
                limit=_CONNECTIONS_MAX,
                ssl=self._tls if self._tls is not None else True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                trust_env=False,  # a proxy would resolve the name once more, and elsewhere
                auto_decompress=False,
            )
        return self._session


class _Private(OSError):
    """All that a name leads to is private."""


class _Judge(AbstractResolver):
    """Leaves out of what another resolver finds whatever is not on the internet."""

    def __init__(self, resolver: AbstractResolver, hosts: Collection[str]) -> None:
        self._resolver = resolver
        self._hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if host.lower() in self._hosts:
            return found
        public = [one for one in found if _is_public(one["host"])]
        if found and not public:
            raise _Private("leads to a private address, and its host is not one of batch.webhook_hosts")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def _is_public(address: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False


def _private(error: BaseException | None) -> _Private | None:
    """The judgement among the causes of an error; aiohttp wraps what its resolver raises."""
    while error is not None and not isinstance(error, _Private):
        error = error.__cause__ or error.__context__
    return error
