"""The lines of a batch's files, in and out: split, checked and written without a whole file in memory.

Sources: the guide to the Batch API for what a line holds; the codes are those that OpenAI's own batches fail with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from ...errors import ClientFault
from ...openai.call import read_call
from .objects import LINES_MAX

ERRORS_MAX: Final = 100
"""So many of a file's faults are told."""
CUSTOM_ID_CHARS_MAX: Final = 512
_EXPIRED: Final = ("batch_expired", "The request was not asked before the batch's completion window was over.")
_CANCELLED: Final = ("batch_cancelled", "The request was cancelled before it was asked.")


class Line(NamedTuple):
    """One line of a file, without its end."""

    number: int
    """From 0, empty ones counted."""
    end: int
    """Offset of the next line."""
    data: bytes | None
    """None: too long to be read."""


class Lines:
    """Splits a file that comes in pieces. `number` and `offset` say where in the file the first piece begins."""

    def __init__(self, line_bytes_max: int, number: int = 0, offset: int = 0) -> None:
        self._line_bytes_max = line_bytes_max
        self._number = number
        self._offset = offset
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that end within `data`. To be used up before the next call."""
        begun = 0
        while (end := data.find(b"\n", begun)) >= 0:
            yield self._line(data[begun:end], 1)
            begun = end + 1
        self._keep(data[begun:])

    def finish(self) -> Iterator[Line]:
        """The last line, when nothing ends it."""
        if self._rest_bytes:
            yield self._line(b"", 0)

    def _keep(self, data: bytes) -> None:
        self._rest_bytes += len(data)
        if self._rest_bytes > self._line_bytes_max:
            self._rest.clear()
        elif data:
            self._rest.append(data)

    def _line(self, data: bytes, end_bytes: int) -> Line:
        self._keep(data)
        whole = b"".join(self._rest).rstrip(b"\r") if self._rest_bytes <= self._line_bytes_max else None
        self._offset += self._rest_bytes + end_bytes
        line = Line(self._number, self._offset, whole)
        self._number += 1
        self._rest.clear()
        self._rest_bytes = 0
        return line


class Request(NamedTuple):
    """A line that may be asked."""

    custom_id: str
    model: str
    body: bytes


class Fault(msgspec.Struct, frozen=True):
    """Why a line, or with `line` None the whole file, cannot be asked."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None
    """From 1."""


class _Line(msgspec.Struct):
    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: msgspec.Raw = msgspec.Raw()


_line = msgspec.json.Decoder(_Line)
_raw = msgspec.json.Decoder(msgspec.Raw)


def read_request(data: bytes, endpoint: str) -> Request | Fault:
    """The request in a line for `endpoint`, or what is wrong with it."""
    try:
        line = _line.decode(data)
    except msgspec.ValidationError:
        return Fault("invalid_json_line", "The line is not a JSON object.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault("invalid_json_line", "The line cannot be read as JSON.")
    for name in ("custom_id", "method", "url"):
        value = getattr(line, name)
        if value is None or value == "":
            return _missing(name)
        if not isinstance(value, str):
            return Fault("invalid_type", f"{name} must be a text.", name)
    if len(line.custom_id) > CUSTOM_ID_CHARS_MAX:
        return Fault("invalid_value", f"custom_id is longer than {CUSTOM_ID_CHARS_MAX} characters.", "custom_id")
    if "\0" in line.custom_id:
        return _nul("custom_id")
    if line.method != "POST":
        return Fault("invalid_method", "method must be 'POST'.", "method")
    if line.url != endpoint:
        return Fault("url_mismatch", f"url must be the endpoint of the batch, {endpoint!r}.", "url")
    body = bytes(line.body)
    if body in (b"", b"null"):
        return _missing("body")
    if body[:1] != b"{":
        return Fault("invalid_type", "body must be an object.", "body")
    return _of_body(line.custom_id, body)


def _of_body(custom_id: str, body: bytes) -> Request | Fault:
    try:
        call = read_call(body)
    except ClientFault as fault:
        return Fault(fault.code, fault.message, f"body.{fault.param}" if fault.param else "body")
    if not call.model:
        return _missing("body.model")
    if "\0" in call.model:
        return _nul("body.model")
    if call.stream:
        return Fault("invalid_value", "A line of a batch cannot be streamed: leave out stream.", "body.stream")
    return Request(custom_id, call.model, body)


def _missing(name: str) -> Fault:
    return Fault("missing_required_parameter", f"Missing required parameter: {name!r}.", name)


def _nul(name: str) -> Fault:
    """What PostgreSQL cannot store."""
    return Fault("invalid_value", f"{name} has a NUL character.", name)


class Check:
    """Reads through all lines of a file; what it found out is there at the end."""

    def __init__(self, endpoint: str, line_bytes_max: int) -> None:
        self._endpoint = endpoint
        self._line_bytes_max = line_bytes_max
        self._seen: set[bytes] = set()
        self.model = ""
        """Of the first line."""
        self.requests = 0
        self.body_bytes = 0
        self.faults: list[Fault] = []

    @property
    def full(self) -> bool:
        """Enough is known: the rest of the file need not be read."""
        return len(self.faults) >= ERRORS_MAX or self.requests > LINES_MAX

    def see(self, line: Line) -> None:
        if line.data is None:
            self.requests += 1
            self._fault(line, Fault("line_too_long", f"The line is longer than {self._line_bytes_max} bytes."))
        elif line.data.strip():
            self.requests += 1
            self._read(line, line.data)

    def finish(self) -> None:
        """The file is over, or there is enough of it."""
        if self.requests > LINES_MAX:
            self.faults = [Fault("too_many_tasks", f"The file has more than {LINES_MAX} requests.")]
        elif not self.requests:
            self.faults = [Fault("empty_file", "The file has no request in it.")]

    def _read(self, line: Line, data: bytes) -> None:
        request = read_request(data, self._endpoint)
        if isinstance(request, Fault):
            self._fault(line, request)
            return
        digest = hashlib.blake2b(request.custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            self._fault(
                line,
                Fault("duplicate_custom_id", "Another line has this custom_id; each needs its own.", "custom_id"),
            )
        self._seen.add(digest)
        self.model = self.model or request.model
        self.body_bytes += len(request.body)

    def _fault(self, line: Line, fault: Fault) -> None:
        if len(self.faults) < ERRORS_MAX:
            self.faults.append(msgspec.structs.replace(fault, line=line.number + 1))


def answer_line(item_id: str, custom_id: str, status: int, request_id: str, body: bytes) -> bytes:
    """With its end. A body that is no JSON becomes an error that quotes its beginning."""
    response = {"status_code": status, "request_id": request_id, "body": _json(body, status)}
    return _written(item_id, custom_id, response, None)


def succeeded(status: int | None) -> bool:
    """Whether an answer with this status goes into the output file; all others go into the error file."""
    return status is not None and 200 <= status < 400


def dropped_line(item_id: str, custom_id: str, *, expired: bool) -> bytes:
    """Of an item that was not asked: because it was too late, or because somebody cancelled it."""
    code, message = _EXPIRED if expired else _CANCELLED
    return _written(item_id, custom_id, None, {"code": code, "message": message})


def _written(item_id: str, custom_id: str, response: Any, error: Any) -> bytes:
    line = {"id": f"batch_req_{item_id}", "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(line) + b"\n"


def _json(body: bytes, status: int) -> msgspec.Raw:
    try:
        raw = _raw.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = f"The upstream answered {status} with no JSON: {body[:500].decode('utf-8', 'replace')}"
        error = {"message": message, "type": "upstream_error", "param": None, "code": "invalid_reply"}
        return msgspec.Raw(msgspec.json.encode({"error": error}))
    # What is written over several lines, has to go on one.
    return msgspec.Raw(msgspec.json.format(raw, indent=-1)) if b"\n" in body or b"\r" in body else raw
