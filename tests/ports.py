"""A port that is nobody else's: for servers that take no socket, and where nobody is to listen.

The kernel gives a port that somebody has bound to no other socket, listening or calling. A server that sets
SO_REUSEADDR, as all do that are meant to be restarted, listens on it all the same.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """Of 127.0.0.1. Connections to it are refused until somebody listens."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
