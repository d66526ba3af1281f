"""An HTTP request to the store as a `Question`: who asks, the statement, its data, settings and parameters."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from aiohttp import hdrs, web

from . import statement
from .credentials import DATABASE, Credentials, Role
from .encodings import UnknownEncoding, decompress_lz4
from .engine import NOT_IMPLEMENTED, EngineError, Question

BODY_BYTES_MAX: Final = 256 * 1024 * 1024

REQUIRED_PASSWORD: Final = 194
AUTHENTICATION_FAILED: Final = 516
QUERY_IS_TOO_LARGE: Final = 552
BAD_ARGUMENTS: Final = 36

_NO_SETTINGS: Final = frozenset(
    {
        # Read here.
        *("query", "query_id", "database", "default_format", "user", "password", "compress", "decompress"),
        *("enable_http_compression", "http_zlib_compression_level"),
        # Of no meaning for a store without sessions, quotas, roles and progress headers.
        *("session_id", "session_timeout", "session_check", "close_session", "quota_key", "role", "framing"),
        *("wait_end_of_query", "http_wait_end_of_query", "buffer_size", "http_response_buffer_size", "stacktrace"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "add_http_cors_header"),
        *("cancel_http_readonly_queries_on_client_close", "client_protocol_version"),
        # Decided by who asks.
        *("readonly", "profile"),
    }
)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def fault(code: int, name: str, text: str) -> EngineError:
    return EngineError(code, f"Code: {code}. DB::Exception: {text}. ({name})")


def authenticate(request: web.Request, credentials: Credentials) -> Role:
    """By X-ClickHouse-User/Key, Basic or the query string. Raises `EngineError` 194 (nothing sent) or 516 (wrong)."""
    user, password = "", ""
    if "X-ClickHouse-User" in request.headers:
        user, password = request.headers["X-ClickHouse-User"], request.headers.get("X-ClickHouse-Key", "")
    elif (sent := request.headers.get(hdrs.AUTHORIZATION, "")).lower().startswith("basic "):
        try:
            user, _, password = base64.b64decode(sent[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise fault(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", "The Authorization is damaged") from error
    elif "user" in request.query:
        user, password = request.query["user"], request.query.get("password", "")
    else:
        raise fault(
            REQUIRED_PASSWORD,
            "REQUIRED_PASSWORD",
            "This store needs a user and a password; they are in credentials.json beside its tables",
        )
    role = credentials.role(user, password)
    if role is None:
        raise fault(
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            "Authentication failed: password is incorrect, or there is no user with such name",
        )
    return role


async def read_question(request: web.Request, role: Role) -> Question:
    """Raises `EngineError` for what cannot be understood."""
    query = request.query
    if query.get("compress") == "1" or query.get("decompress") == "1":
        raise fault(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", "Native compression is not supported; use HTTP compression")
    sql = query.get("query", "").encode()
    parameters = {name[6:]: value for name, value in query.items() if name.startswith("param_")}
    if await _is_form(request):
        form = await _read_form(request)
        parameters |= {name[6:]: value for name, value in form.items() if name.startswith("param_")}
        sql += form.get("query", "").encode()
        body = b""
    else:
        body = await _read_body(request)
    question = Question(
        sql=sql or body,
        settings={name: value for name, value in query.items() if _is_setting(name)},
        parameters=parameters,
        database=query.get("database") or request.headers.get("X-ClickHouse-Database") or DATABASE,
        default_format=query.get("default_format") or request.headers.get("X-ClickHouse-Format") or "TabSeparated",
        readonly=role == "reader" or request.method in ("GET", "HEAD"),
    )
    return _with_data(question, sql, body)


def _with_data(question: Question, sql: bytes, body: bytes) -> Question:
    """With an INSERT's data taken off the statement: after it in the same text, or the whole body."""
    insert = statement.read_insert(question.sql)
    if insert is None:
        return replace(question, sql=sql + b"\n" + body) if sql and body else question
    text = memoryview(question.sql)[insert.data_at :]
    data = memoryview(bytes(text) + body) if sql and body and text else memoryview(body) if sql and body else text
    return replace(question, sql=insert.head, data=data, data_format=insert.format)


def _is_setting(name: str) -> bool:
    return name not in _NO_SETTINGS and not name.startswith("param_") and _SETTING.match(name) is not None


async def _is_form(request: web.Request) -> bool:
    """curl calls all that it sends a form, unless it is told otherwise: a statement, or data of one, is none."""
    if request.content_type == "multipart/form-data":
        return True
    if request.content_type != "application/x-www-form-urlencoded" or "query" in request.query:
        return False
    return (await request.read()).startswith((b"query=", b"param_"))


async def _read_body(request: web.Request) -> bytes:
    body = await request.read()
    if request.headers.get(hdrs.CONTENT_ENCODING, "").lower() == "lz4":
        try:
            return decompress_lz4(body, BODY_BYTES_MAX)
        except UnknownEncoding as error:
            raise fault(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"Cannot read the request body: {error}") from error
    return body


async def _read_form(request: web.Request) -> Mapping[str, str]:
    fields = {}
    for name, value in (await request.post()).items():
        if not isinstance(value, str):
            raise fault(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", "External tables are not supported by the embedded store")
        fields[name] = value
    return fields
