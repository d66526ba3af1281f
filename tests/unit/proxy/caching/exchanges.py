"""Exchanges as the server would have made them, without a server."""

from __future__ import annotations

from typing import Any

from proxy.exchange import Exchange, RequestBody
from proxy.openai.call import Call


def exchange(
    request_id: str = "a", *, path: str = "/v1/chat/completions", call: Call | None = None, **headers: str
) -> Exchange:
    """Header names with underscores for dashes."""
    fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    made: dict[str, Any] = {
        "trace_id": "",
        "span_id": "",
        "parent_span_id": "",
        "trace_state": "",
        "start_ns": 0,
        "started_s": 0.0,
        "method": "POST",
        "query": "",
        "headers": list(fields.items()),
        "names": list(fields),
        "fields": fields,
        "body": RequestBody(None, 0, 0),
        "endpoint": "chat",
    }
    return Exchange(request_id=request_id, path=path, call=call or Call(model="gpt-5"), **made)
