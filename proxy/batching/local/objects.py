"""The objects of the Files and Batch APIs as OpenAI sends them, and the requests for them as far as they are valid.

Source: the API reference and the types of the official SDK. Nothing here touches a database or a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs

import msgspec

from ...errors import ClientFault
from ...openai.usage import read_usage
from ..item import BATCHABLE

UPLOAD_PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
FILE_PURPOSES: Final = (*UPLOAD_PURPOSES, "assistants_output", "batch_output", "fine-tune-results")
FILE_BYTES_MAX: Final = 512 * 1024 * 1024
INPUT_BYTES_MAX: Final = 200 * 1024 * 1024
"""Of a file with purpose `batch`."""
LINES_MAX: Final = 50_000
WINDOW_S: Final = 24 * 3600
KEPT_S: Final = 30 * 24 * 3600
"""Files of batches, in and out, for which nothing shorter was asked."""
_EXPIRES_S_MIN: Final = 3600
_SECOND_NS: Final = 1_000_000_000


class Row(Protocol):
    """Of a table, by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any: ...


class BatchRequest(NamedTuple):
    """What `POST /v1/batches` asks for."""

    input_file_id: str
    endpoint: str
    metadata: dict[str, str] | None
    output_expires_s: int


class Page(NamedTuple):
    """Which part of a list is wanted."""

    after: str
    limit: int
    oldest_first: bool = False
    purpose: str = ""


def file_object(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "file",
        "bytes": row["bytes"],
        "created_at": row["created_ns"] // _SECOND_NS,
        "expires_at": _at(row["expires_ns"]),
        "filename": row["filename"],
        "purpose": row["purpose"],
        "status": row["status"],
        "status_details": None,
    }


def file_deleted(id: str) -> dict[str, Any]:  # noqa: A002 - as OpenAI calls it
    return {"id": id, "object": "file", "deleted": True}


def batch_object(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "batch",
        "endpoint": row["path"],
        "model": row["model"] or None,
        "errors": {"object": "list", "data": msgspec.json.decode(row["errors"])} if row["errors"] else None,
        "input_file_id": row["input_file_id"],
        "completion_window": row["completion_window"],
        "status": row["status"],
        "output_file_id": row["output_file_id"] or None,
        "error_file_id": row["error_file_id"] or None,
        "created_at": row["created_ns"] // _SECOND_NS,
        "in_progress_at": _at(row["in_progress_ns"]),
        "expires_at": _at(row["expires_ns"]),
        "finalizing_at": _at(row["finalizing_ns"]),
        "completed_at": _at(row["completed_ns"]),
        "failed_at": _at(row["failed_ns"]),
        "expired_at": _at(row["expired_ns"]),
        "cancelling_at": _at(row["cancelling_ns"]),
        "cancelled_at": _at(row["cancelled_ns"]),
        "request_counts": {"total": row["total"], "completed": row["completed"], "failed": row["failed"]},
        "usage": Usage.of(row["usage"]).as_object() if row["usage"] else None,
        "metadata": msgspec.json.decode(row["metadata"]),
    }


class Usage(msgspec.Struct):
    """The tokens of a batch, as `batches.usage` keeps them."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @classmethod
    def of(cls, kept: str) -> Usage:
        """As it was kept; "": nothing yet."""
        return msgspec.json.decode(kept, type=cls) if kept else cls()

    def add(self, body: bytes) -> None:
        """Those of one reply."""
        try:
            usage = read_usage(_usage.decode(body).usage)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if usage is not None:
            self.input_tokens += usage.input_tokens or 0
            self.cached_tokens += usage.cached_tokens or 0
            self.output_tokens += usage.output_tokens or 0
            self.reasoning_tokens += usage.reasoning_tokens or 0

    def as_object(self) -> dict[str, Any]:
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


class _WithUsage(msgspec.Struct):
    usage: Any = None


_usage = msgspec.json.Decoder(_WithUsage)


def list_object(rows: Sequence[Row], as_object: Callable[[Row], dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [as_object(row) for row in rows],
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": has_more,
    }


def read_batch_request(body: bytes) -> BatchRequest:
    """Raises `ClientFault` (400) that names the parameter."""
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientFault(f"The request body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(asked, dict):
        raise ClientFault("The request body must be a JSON object.", code="invalid_type")
    input_file_id = _required(asked, "input_file_id")
    endpoint = _required(asked, "endpoint")
    window = _required(asked, "completion_window")
    if endpoint not in BATCHABLE:
        raise _invalid("endpoint", endpoint, BATCHABLE)
    if window != "24h":
        raise _invalid("completion_window", window, ("24h",))
    expires = asked.get("output_expires_after")
    if expires is None:
        output_expires_s = KEPT_S
    elif isinstance(expires, dict):
        output_expires_s = expires_after("output_expires_after", expires.get("anchor"), expires.get("seconds"))
    else:
        raise ClientFault("output_expires_after must be an object.", code="invalid_type", param="output_expires_after")
    return BatchRequest(input_file_id, endpoint, _metadata(asked.get("metadata")), output_expires_s)


def expires_after(name: str, anchor: Any, seconds: Any) -> int:
    """Of `expires_after[anchor]` and `[seconds]` of a form, or of the object in JSON. Raises `ClientFault` (400)."""
    if anchor != "created_at":
        raise _invalid(f"{name}[anchor]", anchor, ("created_at",))
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) <= 9:
        seconds = int(seconds)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not _EXPIRES_S_MIN <= seconds <= KEPT_S:
        raise ClientFault(
            f"{name}[seconds] must be a whole number from {_EXPIRES_S_MIN} (1 hour) to {KEPT_S} (30 days).",
            code="invalid_value",
            param=f"{name}[seconds]",
        )
    return seconds


def read_page(query: str, *, limit_max: int, limit: int) -> Page:
    """Of a list's query; `limit` is the default. Raises `ClientFault` (400)."""
    try:
        fields = {name: values[0] for name, values in parse_qs(query, max_num_fields=100).items()}
    except ValueError as error:
        raise ClientFault("The query has too many fields.", code="invalid_query") from error
    wanted = fields.get("limit", str(limit))
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 9 and 1 <= int(wanted) <= limit_max):
        raise ClientFault(f"limit must be a whole number from 1 to {limit_max}.", code="invalid_value", param="limit")
    order = fields.get("order", "desc")
    if order not in ("asc", "desc"):
        raise _invalid("order", order, ("asc", "desc"))
    purpose = fields.get("purpose", "")
    if purpose and purpose not in FILE_PURPOSES:
        raise _invalid("purpose", purpose, FILE_PURPOSES)
    after = fields.get("after", "")
    if not may_be_id(after):
        raise ClientFault("after must be the id of an object in the list.", code="invalid_value", param="after")
    return Page(after, int(wanted), order == "asc", purpose)


def read_purpose(fields: Mapping[str, str]) -> str:
    """Of an upload's form. Raises `ClientFault` (400)."""
    purpose = _required(fields, "purpose")
    if purpose not in UPLOAD_PURPOSES:
        raise _invalid("purpose", purpose, UPLOAD_PURPOSES)
    return purpose


def may_be_id(text: str) -> bool:
    """False for what no database need be asked for, and not every one can be."""
    return len(text) <= 128 and text.isascii() and text.isprintable()


def no_such_file(id: str, param: str = "id", status: int = 404) -> ClientFault:  # noqa: A002
    shown = ascii(id[:80])[1:-1]
    return ClientFault(f"No such File object: {shown}", code="file_not_found", param=param, status=status)


def no_such_batch(id: str) -> ClientFault:  # noqa: A002
    return ClientFault(f"No batch found with id {id[:80]!a}.", code="batch_not_found", param="id", status=404)


def missing(name: str) -> ClientFault:
    return ClientFault(f"Missing required parameter: {name!r}.", code="missing_required_parameter", param=name)


def _required(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if value is None or value == "":
        raise missing(name)
    if not isinstance(value, str) or "\0" in value:
        raise ClientFault(f"{name} must be a text.", code="invalid_type", param=name)
    return value


def _invalid(name: str, value: Any, allowed: Sequence[str] | Mapping[str, Any]) -> ClientFault:
    one_of = ", ".join(repr(each) for each in allowed)
    return ClientFault(f"Invalid {name}: {str(value)[:80]!r}. Use one of {one_of}.", code="invalid_value", param=name)


def _metadata(value: Any) -> dict[str, str] | None:
    """At most 16 pairs, 64 characters a name, 512 a value."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ClientFault("metadata must be an object of texts.", code="invalid_type", param="metadata")
    if len(value) > 16 or any(len(name) > 64 or len(each) > 512 for name, each in value.items()):
        raise ClientFault(
            "metadata takes at most 16 pairs, with names of 64 and values of 512 characters.",
            code="invalid_value",
            param="metadata",
        )
    return value


def _at(ns: int) -> int | None:
    return ns // _SECOND_NS if ns else None
