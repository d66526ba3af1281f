"""An upstream that answers few calls at a time, as a model on one's own machine does.

    python -m tests.bench.slots [--slots 8] [--service-ms 50]

Prints its port on the first line. A call takes the service time once it has one of the slots; before that it waits in
line. GET /served says how many replies were begun.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque

import uvloop

from .upstream import BenchProtocol, Served, stream_events, unary_reply


class Slots:
    def __init__(self, count: int, service_s: float) -> None:
        self._free = count
        self._service_s = service_s
        self._line: deque[SlotProtocol] = deque()

    def ask(self, protocol: SlotProtocol) -> None:
        if not self._free:
            self._line.append(protocol)
            return
        self._free -= 1
        asyncio.get_running_loop().call_later(self._service_s, self._served, protocol)

    def _served(self, protocol: SlotProtocol) -> None:
        protocol.reply()
        self._free += 1
        if self._line:
            self.ask(self._line.popleft())


class SlotProtocol(BenchProtocol):
    """Unary calls alone."""

    def __init__(self, slots: Slots, served: Served) -> None:
        super().__init__(served, unary_reply(), stream_events(1), 0.0)
        self._slots = slots

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /served"):
            super()._answer(head, body)
        else:
            self._slots.ask(self)

    def reply(self) -> None:
        super()._answer(b"post", b"")


async def serve(count: int, service_s: float) -> None:
    slots, served = Slots(count, service_s), Served()
    server = await asyncio.get_running_loop().create_server(lambda: SlotProtocol(slots, served), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--service-ms", type=float, default=50.0)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.slots, arguments.service_ms / 1000))


if __name__ == "__main__":
    main()
