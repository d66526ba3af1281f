"""What comes back from a provider, as pure functions: lines of output and error files, and errors in the envelope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from ...errors import PenstockError, UpstreamFault
from ...reply import RawHeaders
from ..item import Answer

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one line of a result; a longer one is passed over, and its item is missing."""
_JSON: Final = (b"content-type", b"application/json")
_NOT_ASKED: Final = frozenset({"batch_expired", "batch_cancelled"})


class LineSplitter:
    """Cuts a stream into its lines. Never holds more than one of them and one piece."""

    def __init__(self, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._pieces: list[bytes] = []
        self._size = 0
        self.too_long = 0
        """Lines that were passed over."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in `data`, without their ends; empty ones are left out."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._keep(data[start:end])
            start = end + 1
            yield from self.end()
        self._keep(data[start:])

    def end(self) -> Iterator[bytes]:
        """The line that nothing more comes for."""
        if self._size > self._bytes_max:
            self.too_long += 1
        elif line := b"".join(self._pieces).strip():
            yield line
        self._pieces, self._size = [], 0

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._bytes_max:
            self._pieces = []
        elif piece:
            self._pieces.append(piece)


class Result(NamedTuple):
    """One line of an output or error file."""

    custom_id: str
    answer: Answer | None
    """None: the line was never run, because its batch was over before."""


class _Response(msgspec.Struct):
    status_code: int
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_Line)


def read_result(line: bytes) -> Result | None:
    """None for what is no line of a result. The answer's body is the provider's, byte for byte."""
    try:
        found = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    response = found.response
    if response is not None and 100 <= response.status_code <= 999:
        headers: RawHeaders = [_JSON]
        if response.request_id and response.request_id.isascii() and response.request_id.isprintable():
            headers.append((b"x-request-id", response.request_id.encode()))
        return Result(found.custom_id, Answer(status=response.status_code, headers=headers, body=bytes(response.body)))
    error = found.error or _Error()
    if error.code in _NOT_ASKED:
        return Result(found.custom_id, None)
    message = error.message or "The provider ran this call in a batch and gave neither a reply nor a reason."
    return Result(found.custom_id, refusal(502, message, kind="upstream_error", code=error.code or "batch_item_failed"))


def refusal(
    status: int, message: str, *, kind: str = "invalid_request_error", code: str | None, param: str | None = None
) -> Answer:
    """An error in OpenAI's envelope, as the answer of an item."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Answer(status=status, headers=[_JSON], body=json.dumps(body).encode())


def answer_of(error: PenstockError) -> Answer:
    """An error of our own as the answer of an item."""
    return Answer(status=error.http_status, headers=[_JSON], body=json.dumps(error.envelope()).encode())


def missing() -> Answer:
    """Of an item that is in neither file of a batch that completed."""
    return answer_of(
        UpstreamFault("The batch was completed without an answer to this call. Ask again.", code="batch_item_missing")
    )


def given_up(status: str) -> Answer:
    """Of an item whose batches all ended without it."""
    message = f"The provider gave no answer: the last of several batches with this call is {status}."
    return answer_of(UpstreamFault(message, code=f"batch_{status}"))
