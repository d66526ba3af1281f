"""Whose fault it was. Each class of error is one line of the table in the README: status, type, code.

Every error that reaches a caller is sent in OpenAI's envelope, so that the official SDKs raise their usual exceptions.
The message says what to do about it and never holds a credential.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .reply import Reply, json_reply


class PenstockError(Exception):
    """An error with an answer. Subclasses say whose fault it was; the code says what happened."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "penstock_error"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        param: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.http_status = status or self.status
        self.retry_after_s = retry_after_s

    def envelope(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def reply(self) -> Reply:
        reply = json_reply(self.http_status, self.envelope())
        if self.retry_after_s is not None:
            reply.headers.append((b"Retry-After", str(max(1, round(self.retry_after_s))).encode()))
        return reply


class ClientFault(PenstockError):
    """The request cannot be served as it is (400, 401, 404, 405, 413, 431)."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(ClientFault):
    """No accepted key (401)."""

    status = 401
    type = "authentication_error"


class Overload(PenstockError):
    """Penstock is at a limit of its own; the same call may succeed later (503 with Retry-After)."""

    status = 503
    type = "overloaded_error"


class UpstreamFault(PenstockError):
    """The upstream gave no reply, or not a whole one (502; 504 for the timeouts).

    `replayable`: not one byte of a reply had come, so the request may be sent again if its body can be.
    """

    status = 502
    type = "upstream_error"

    def __init__(self, message: str, *, code: str, replayable: bool = False, status: int | None = None) -> None:
        super().__init__(message, code=code, status=status)
        self.replayable = replayable


class ClientGone(Exception):
    """The caller closed its connection. There is nobody to answer."""
