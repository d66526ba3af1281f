"""Server-sent events without I/O: bytes in, events out, the same events however the bytes were cut.

Follows the event stream interpretation of the HTML standard (section 9.2.6), with two differences that recording needs:
an event names the bytes it came from, and the event that a broken stream left unfinished is given out, marked as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024

# The end of a line and the empty line after it, in each of the nine spellings; CR LF is never read as two line ends.
_EVENT_END = re.compile(rb"\n(?:\n|\r\n?)|\r(?:\n(?:\n|\r\n?)|\r\n?)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


def event_ends(buffer: bytes | bytearray, start: int) -> Iterator[int]:
    """The places from `start` on where an event ends. A CR at the very end of `buffer` may lack its LF."""
    if buffer.find(b"\r", start) < 0:
        while (at := buffer.find(b"\n\n", start)) >= 0:
            start = at + 2
            yield start
    else:
        for match in _EVENT_END.finditer(buffer, start):
            yield match.end()


class Event(msgspec.Struct, frozen=True):
    """One dispatched event. `raw` is all of its bytes with comments and the empty line that ends it."""

    event: str
    """"" when the stream gave no name (which a browser would call `message`)."""
    data: bytes
    """The data lines joined by a line feed."""
    id: str
    """The last id that the stream gave."""
    raw: bytes
    complete: bool = True
    """False: the stream broke off before the empty line."""
    oversized: bool = False
    """The event was larger than the bound and was skipped; `data` and `raw` are empty."""


class SseDecoder:
    """Feeds on a stream of bytes. Never raises; holds at most one event, of at most `event_bytes_max` bytes.

    A carriage return at the end of the fed bytes may be half of a line end, so the event it may end waits for the next.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._buffer = bytearray()
        self._scanned = 0
        self._skipping = False
        self._started = False
        self._id = ""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes."""
        self._buffer += data
        return self._take(final=False)

    def finish(self) -> list[Event]:
        """At the end of the stream: the events that were waiting for it, the last one perhaps not complete."""
        events = self._take(final=True)
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self._skipping:
            events.append(self._oversized(complete=False))
        elif rest:
            self._add(events, rest, complete=False)
        self._skipping = False
        return events

    def _take(self, *, final: bool) -> list[Event]:
        buffer = self._buffer
        events: list[Event] = []
        start = 0
        if not self._started:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer) and not final:
                return events
            self._started = True
            if buffer.startswith(_BOM):
                del buffer[: len(_BOM)]
        for end in event_ends(buffer, self._scanned):
            if end == len(buffer) and buffer[-1] == 13 and not final:
                break
            if self._skipping or end - start > self._event_bytes_max:
                events.append(self._oversized())
                self._skipping = False
            else:
                self._add(events, bytes(buffer[start:end]))
            start = end
        self._keep(start)
        return events

    def _keep(self, start: int) -> None:
        """Drop what was taken, remember what was looked at, and of an event over the bound keep only its last bytes."""
        buffer = self._buffer
        del buffer[:start]
        if len(buffer) > self._event_bytes_max + 4:
            self._skipping = True
        if self._skipping and len(buffer) > 4:
            del buffer[:-4]
        # A line end of up to four bytes may have begun in what was already looked at.
        self._scanned = max(0, len(buffer) - 4)

    def _oversized(self, *, complete: bool = True) -> Event:
        return Event("", b"", self._id, b"", complete, oversized=True)

    def _add(self, events: list[Event], raw: bytes, *, complete: bool = True) -> None:
        if raw[:6] == b"data: " and raw[-2:] == b"\n\n" and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            events.append(Event("", raw[6:-2], self._id, raw, complete))  # nearly every event is just this
            return
        name = ""
        data: list[bytes] = []
        lines = _LINE_END.split(raw) if b"\r" in raw else raw.split(b"\n")
        for line in lines:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"id" and b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        if data:
            events.append(Event(name, b"\n".join(data), self._id, raw, complete))


def events(data: bytes, event_bytes_max: int = EVENT_BYTES_MAX) -> list[Event]:
    """All events of a stream that is there as a whole."""
    decoder = SseDecoder(event_bytes_max)
    return decoder.feed(data) + decoder.finish()
