"""Read the request as far as its way depends on it."""

from __future__ import annotations

from urllib.parse import parse_qs

from ..chain import Handler, Stage
from ..errors import ClientFault
from ..exchange import Exchange, body_too_large
from ..identity import identify
from ..openai.call import Call, read_call
from ..openai.coding import decode
from ..reply import Reply

_PEEK_BYTES_MAX = 1024 * 1024
"""JSON bodies of endpoints that are not parsed are read for their model up to this; larger ones stream through."""


def understand(parsed_body_bytes_max: int) -> Stage:
    """A stage that fills `exchange.call` and the labels.

    Raises `ClientFault` for a body of a parsed endpoint that is too large, not JSON, or of the wrong types.
    """

    async def stage(exchange: Exchange, inner: Handler) -> Reply:
        if exchange.endpoint != "other":
            data = await _whole(exchange, parsed_body_bytes_max)
            exchange.call = read_call(_decoded(exchange, data, parsed_body_bytes_max))
        elif _is_small_json(exchange):
            exchange.call = _peek(exchange, await _whole(exchange, _PEEK_BYTES_MAX))
        elif exchange.websocket:
            exchange.call = _in_query(exchange.query)
        identify(exchange)
        return await inner(exchange)

    return stage


def _in_query(query: str) -> Call | None:
    """A realtime session names its model in the query."""
    try:
        models = parse_qs(query, max_num_fields=100).get("model")
    except ValueError:
        return None
    return Call(model=models[0]) if models else None


async def _whole(exchange: Exchange, bytes_max: int) -> bytes:
    body = exchange.body
    body.bytes_max = min(body.bytes_max, bytes_max)
    if body.length is not None and body.length > body.bytes_max:
        raise body_too_large(body.bytes_max)
    return await body.whole()


def _decoded(exchange: Exchange, data: bytes, bytes_max: int) -> bytes:
    encoding = exchange.header(b"content-encoding")
    if not encoding:
        return data
    decoded = decode(data, encoding.decode("latin-1"), bytes_max)
    if decoded is None or decoded.broken:
        raise ClientFault(
            "The request body's Content-Encoding cannot be decoded. Send it as gzip, deflate, br, zstd or plain.",
            code="unsupported_encoding",
            status=415,
        )
    if decoded.truncated:
        raise body_too_large(bytes_max)
    return decoded.data


def _is_small_json(exchange: Exchange) -> bool:
    kind = exchange.header(b"content-type") or b""
    length = exchange.body.length
    return b"json" in kind and length is not None and 0 < length <= _PEEK_BYTES_MAX and not exchange.websocket


def _peek(exchange: Exchange, data: bytes) -> Call | None:
    """What cannot be read here is the upstream's to judge."""
    try:
        return read_call(_decoded(exchange, data, _PEEK_BYTES_MAX))
    except ClientFault:
        return None
