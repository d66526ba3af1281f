"""The listening sockets: bound once by the supervisor, inherited by every worker that ever lives.

There is one for each worker, all on one port (SO_REUSEPORT), so that the kernel spreads connections evenly. Because the
supervisor keeps them open, connections that wait in their queues outlive a worker's death and its replacement.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

BACKLOG = 4096


class CannotListen(Exception):
    """One line for the terminal: which address, why, and what to do."""


class Listeners:
    """`count` sockets on one address. `port` is the real one when 0 was asked for."""

    def __init__(self, host: str, port: int, sockets: list[socket.socket]) -> None:
        self.host = host
        self.port = port
        self._sockets = sockets

    def __len__(self) -> int:
        return len(self._sockets)

    def grow(self, count: int) -> None:
        """Have at least `count` sockets. There are never fewer again: closing one would lose those who wait in it."""
        while len(self._sockets) < count:
            self._sockets.append(_listen(*_resolve(self.host, self.port)))

    def fds(self, slot: int, slots: int) -> tuple[int, ...]:
        """The sockets that worker `slot` of `slots` accepts from. Together the workers have all of them."""
        return tuple(s.fileno() for index, s in enumerate(self._sockets) if index % slots == slot)

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


def listen(
    host: str,
    port: int,
    count: int,
    *,
    patience_s: float = 0.0,
    setting: str = "server.port",
    sleep: Callable[[float], None] = time.sleep,
) -> Listeners:
    """Bind `count` sockets. Raises `CannotListen`.

    SO_REUSEPORT alone would share a port silently with another server of the same user, so the port is first claimed
    without it. `patience_s`: for how long an occupied port is tried again.
    """
    family, address = _resolve(host, port)
    port = _claim(family, address, patience_s, setting, sleep)
    listeners = Listeners(host, port, [])
    try:
        listeners.grow(count)
    except OSError as error:
        listeners.close()
        raise CannotListen(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return listeners


Address = tuple[str, int]


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"Cannot listen on {host!r}: {error.strerror or error}. Check server.host.") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _claim(
    family: socket.AddressFamily, address: Address, patience_s: float, setting: str, sleep: Callable[[float], None]
) -> int:
    step_s = 0.05
    for attempt in range(1 + round(patience_s / step_s)):
        if attempt == 1:
            logger.info(
                "port %d is still held by the processes of a Penstock that was killed; they are ending", address[1]
            )
        if attempt:
            sleep(step_s)
        with contextlib.suppress(_Occupied):
            return _try_claim(family, address, setting)
    host, port = address
    raise CannotListen(
        f"Port {port} on {host} is occupied by another program. Stop it, or choose another port with {setting}."
    )


class _Occupied(Exception):
    pass


def _try_claim(family: socket.AddressFamily, address: Address, setting: str) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _Occupied from error
            host, port = address
            hint = {
                errno.EACCES: f"Ports below 1024 need a privilege; choose another with {setting}.",
                errno.EADDRNOTAVAIL: "This machine has no such address; check server.host.",
            }.get(error.errno or 0, "")
            raise CannotListen(f"Cannot listen on {host}:{port}: {error.strerror}. {hint}".rstrip()) from error
        return int(probe.getsockname()[1])


def _listen(family: socket.AddressFamily, address: Address) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
