"""HTTP/1.1 as bytes: the head of a request out, a reply in. No I/O, so every split point can be tested.

The parser is llhttp through httptools, in its strict mode. What it leaves open is decided here: which transfer codings
are understood, how large a head may be, replies to HEAD, informational replies, and what the end of the connection
means (RFC 9112, sections 2 to 9).
"""

from __future__ import annotations

import httptools

from ..errors import ClientFault, UpstreamFault
from ..reply import RawHeaders
from .message import UpstreamRequest

_WITHOUT_BODY = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"))
"""Methods that get no Content-Length when they have no body (RFC 9110, section 8.6)."""

_FRAMING = (b"content-length", b"transfer-encoding")
_FRAMING_LENGTHS = (14, 17)


def encode_head(request: UpstreamRequest, absolute: bytes = b"", extra: RawHeaders | None = None) -> bytes:
    """The request line and header fields, with framing, up to and including the empty line.

    `absolute` is put before the target (`http://host:port`, for a proxy), `extra` after the request's own fields.
    Raises `ClientFault` invalid_header for what would change the meaning of the message: CR, LF or NUL anywhere, a
    space in the target, or framing among the fields.
    """
    body = request.body
    headers = request.headers if extra is None else [*request.headers, *extra]
    lines = [b"%b %b%b HTTP/1.1" % (request.method, absolute, request.target)]
    lines += [b": ".join(field) for field in headers]
    if isinstance(body, bytes):
        if body or request.method not in _WITHOUT_BODY:
            lines.append(b"Content-Length: %d" % len(body))
    elif request.body_length is None:
        lines.append(b"Transfer-Encoding: chunked")
    else:
        lines.append(b"Content-Length: %d" % request.body_length)
    if [name for name, _ in headers if len(name) in _FRAMING_LENGTHS and name.lower() in _FRAMING]:
        raise ClientFault("The framing of the request is stated twice.", code="invalid_header")
    count = len(lines) + 1
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    # Counting line ends over the finished block costs a tenth of looking into every value.
    if head.count(b"\r") != count or head.count(b"\n") != count or b"\0" in head or b" " in request.target:
        raise ClientFault("A header field or the path contains a control character or a space.", code="invalid_header")
    return head


class ResponseParser:
    """Bytes of replies in, values out; one parser serves a connection's replies one after the other.

    `begin` before each request; then `feed` every piece that arrives and `eof` when the upstream closes its side. After
    each call the attributes say how far the reply is. `parts` holds the body's pieces as they came, without framing;
    whoever reads them empties the list. All errors are `UpstreamFault`: bad_response, connection_reset (closed before
    the head was whole; `replayable` when not one byte had come) and upstream_cut (closed within the body).
    """

    __slots__ = (
        "_coding",
        "_error",
        "_fresh",
        "_head_bytes_max",
        "_is_head",
        "_parser",
        "_peer",
        "_silent_bytes",
        "_until_close",
        "complete",
        "head_complete",
        "headers",
        "keep_alive",
        "parts",
        "reason",
        "started",
        "status",
    )

    def __init__(self, peer: str, head_bytes_max: int = 65536) -> None:
        self._peer = peer
        self._head_bytes_max = head_bytes_max
        self._fresh = False
        self.begin(b"GET")

    def begin(self, method: bytes) -> None:
        """Expect the reply to a request made with `method`."""
        if not self._fresh:
            self._parser = httptools.HttpResponseParser(self)
            self._fresh = True
        self._is_head = method == b"HEAD"
        self._error = ""
        self._coding: bytes | None = None
        self._silent_bytes = 0
        self._until_close = False
        self.status = 0
        self.reason = b""
        self.headers: RawHeaders = []
        self.parts: list[bytes] = []
        self.started = False
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        """The connection may carry another request, if the reply is complete."""

    def feed(self, data: bytes) -> None:
        if self.complete:
            self.keep_alive = False  # bytes that no request asked for
            return
        if not self.started:
            self.started = True
            if data[:1] != b"H":  # llhttp would also take RTSP and ICE
                raise self._bad("it does not begin with HTTP")
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.keep_alive = False
        except httptools.HttpParserError as error:
            self._refuse(error)
        if self._error:
            raise self._bad(self._error)
        if self._silent_bytes > self._head_bytes_max and not self.complete:
            raise self._bad(f"more than {self._head_bytes_max} bytes of header fields")

    def eof(self) -> None:
        """The upstream closed its side cleanly. Completes a body that ends with the connection; else raises."""
        self.keep_alive = False
        if self.complete:
            return
        if not self.head_complete:
            what = "in the middle of a reply's head" if self.started else "without a reply"
            raise UpstreamFault(
                f"{self._peer} closed the connection {what}. Send the request again.",
                code="connection_reset",
                replayable=not self.started,
            )
        if not self._until_close:
            raise cut(self._peer)
        self.complete = True

    def _refuse(self, error: httptools.HttpParserError) -> None:
        """What follows a complete reply only spoils the connection."""
        if not self.complete:
            raise self._bad(self._error or str(error)) from error
        self.keep_alive = False

    def _bad(self, detail: str) -> UpstreamFault:
        return UpstreamFault(
            f"The reply of {self._peer} is not valid HTTP/1.1: {detail}. Check the upstream's base_url.",
            code="bad_response",
        )

    # Called by httptools.

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:
            return  # a trailer: hop by hop unless the recipient asked for it, and nobody did
        self.headers.append((name, value.rstrip(b" \t")))
        if len(name) == 17 and name.lower() == b"transfer-encoding":
            self._coding = value if self._coding is None else b"twice"

    def on_headers_complete(self) -> None:
        parser = self._parser
        status: int = parser.get_status_code()
        if status < 200 and status != 101:
            return
        if status == 101:
            self._error = "it switches to a protocol that nobody asked for"
        self.status = status
        self.head_complete = True
        self.keep_alive = parser.should_keep_alive()
        limit = self._head_bytes_max
        if self._silent_bytes > limit and sum(len(name) + len(value) + 4 for name, value in self.headers) > limit:
            self._error = f"more than {limit} bytes of header fields"
        if self._coding is not None and self._coding.strip().lower() != b"chunked":
            self._error = "its transfer coding is not chunked"
        if not self.keep_alive:
            self._not_reusable()
        if self._is_head and not self._error:
            self.complete = True
            self._fresh = False  # llhttp now waits for a body that does not come

    def _not_reusable(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._error = "its version is not HTTP/1.1 or HTTP/1.0"
        elif version == "1.0" and self._coding is not None:
            self._error = "a transfer coding in HTTP/1.0"
        framed = self._coding is not None or any(name.lower() == b"content-length" for name, _ in self.headers)
        self._until_close = not framed

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.keep_alive = False
            return
        self._silent_bytes = 0
        self.parts.append(data)

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second reply to one request")  # ends `feed_data`, before it touches this reply

    def on_message_complete(self) -> None:
        if self.head_complete:
            self.complete = True
        else:  # informational: the final reply is still to come
            self.headers = []
            self.reason = b""
            self._coding = None


def cut(peer: str) -> UpstreamFault:
    """The upstream broke off within a reply's body."""
    return UpstreamFault(
        f"{peer} closed the connection in the middle of the reply. What arrived is incomplete; send the request again.",
        code="upstream_cut",
    )
