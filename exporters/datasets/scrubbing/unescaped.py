"""Text as a reader would understand it: without the escapes of JSON, URLs and HTML, and without typographic blanks.

`jane\\u0040example.com`, `jane%40example.com` and `+49&#160;30 1234567` hide nothing from a person, so they must hide
nothing from the detectors. Where something is found, the bytes that stood for it are what is replaced.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

_odd: Final = re.compile(
    # One of these bytes first: the search leaps from one to the next.
    rb"[\\%&\xc2\xe2\xef](?:"
    rb"(?<=\\)\\*(?:u[0-9A-Fa-f]{4}|x[0-7][0-9A-Fa-f]|[nrtbf\"'/])?"
    rb"|(?<=%)[2-7][0-9A-Fa-f]"
    rb"|(?<=&)(?:\#[0-9]{2,5}|\#[xX][0-9A-Fa-f]{2,5}|commat|nbsp|period|hyphen|plus|quot|colon|lpar|rpar|num|shy);"
    # Blanks and hyphens of every width, what has no width, and full-width ASCII.
    rb"|(?<=\xc2)[\xa0\xad]|(?<=\xe2)(?:\x80[\x80-\x95\xaf]|\x81\xa0|\x88\x92)"
    rb"|(?<=\xef)(?:\xbb\xbf|\xbc[\x81-\xbf]|\xbd[\x80-\x9e]))"
)
_LETTERS: Final = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b'"': b'"', b"'": b"'", b"/": b"/",
}  # fmt: skip
_ENTITIES: Final = {
    b"commat": b"@", b"nbsp": b" ", b"period": b".", b"hyphen": b"-", b"plus": b"+", b"quot": b'"', b"colon": b":",
    b"lpar": b"(", b"rpar": b")", b"num": b"#", b"shy": b"",
}  # fmt: skip


class Unescaped:
    """`text` and the places in the original that its bytes came from."""

    def __init__(self, text: bytes, read: list[int], written: list[int]) -> None:
        self.text = text
        self._read = read
        self._written = written

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Of the original, for a span of `text` that is not empty."""
        return self._place(start)[0], self._place(end - 1)[1]

    def _place(self, at: int) -> tuple[int, int]:
        """Begin and end, in the original, of what one byte stands for."""
        piece = bisect_right(self._read, at) - 1
        begin = self._written[piece]
        # Pieces take turns: as it was, then read anew.
        if piece % 2 == 0:
            begin += at - self._read[piece]
            return begin, begin + 1
        return begin, self._written[piece + 1]


def unescaped(data: bytes) -> Unescaped | None:
    """None when it says what it says."""
    pieces: list[bytes] = []
    read: list[int] = []
    written: list[int] = []
    done = at = 0
    for found in _odd.finditer(data):
        plain = data[done : found.start()]
        meant = _meant(found[0])
        read += (at, at + len(plain))
        written += (done, found.start())
        pieces += (plain, meant)
        at += len(plain) + len(meant)
        done = found.end()
    if not pieces:
        return None
    read.append(at)
    written.append(done)
    return Unescaped(b"".join(pieces) + data[done:], read, written)


def odd_texts(data: bytes) -> bytes:
    """Of texts with a zero byte between them, those from the first to the last that may have something to read anew.
    None, b"", for most: a few looks for single bytes.
    """
    marks = _ASCII_MARKS if data.isascii() else _MARKS
    firsts = [at for mark in marks if (at := data.find(mark)) >= 0]
    if not firsts:
        return b""
    last = max([data.rfind(mark) for mark in marks])
    end = data.find(b"\0", last)
    return data[data.rfind(b"\0", 0, min(firsts)) + 1 : end if end >= 0 else len(data)]


_ASCII_MARKS: Final = (b"\\", b"%", b"&")
_MARKS: Final = (*_ASCII_MARKS, b"\xe2", b"\xc2", b"\xef")


def _meant(token: bytes) -> bytes:
    head = token[:1]
    if head == b"\\":
        return _of_backslash(token.lstrip(b"\\"))
    if head == b"%":
        return bytes((int(token[1:], 16),))
    if head == b"&":
        name = token[1:-1]
        if name[:1] != b"#":
            return _ENTITIES[name]
        return _ascii(int(name[2:], 16) if name[1:2] in b"xX" else int(name[1:]))
    return _ascii(ord(token.decode()))


def _of_backslash(rest: bytes) -> bytes:
    if not rest:
        return b"\\"
    if rest[:1] in b"ux" and len(rest) > 2:
        return _ascii(int(rest[1:], 16))
    return _LETTERS[rest]


def _ascii(point: int) -> bytes:
    """The plain character for a typographic one."""
    if point in _NO_WIDTH:
        return b""
    if point == 0xA0 or 0x2000 <= point <= 0x200A or point == 0x202F:
        return b" "
    if 0x2010 <= point <= 0x2015 or point == 0x2212:
        return b"-"
    if 0xFF01 <= point <= 0xFF5E:
        return bytes((point - 0xFEE0,))
    return chr(point).encode("utf-8", "surrogatepass") if point < 0x110000 else b" "


_NO_WIDTH: Final = frozenset({0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF})
