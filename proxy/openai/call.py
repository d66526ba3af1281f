"""The few fields of a request body that decide its way: read without building the rest of the document."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from ..errors import ClientFault

Endpoint = Literal["chat", "completions", "responses", "embeddings", "moderations", "other"]

PATHS: Final[dict[str, Endpoint]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations",
}
"""The paths whose POST bodies and replies are understood; every other one is `other`."""


STREAMS_WITH_USAGE_OPTION: Final = ("chat", "completions")
"""Endpoints whose streams end with their usage only when it is asked for."""


class Call(msgspec.Struct):
    """The parsed copy of a request. What only the upstream needs to understand is not looked at."""

    model: str = ""
    stream: bool | None = None
    stream_options: Any = None
    metadata: Any = None
    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    service_tier: Any = None
    background: Any = None
    conversation: Any = None
    temperature: Any = None
    prompt: Any = None
    """Responses: a stored prompt `{id, version}`; completions: the text itself."""

    @property
    def asks_for_usage(self) -> bool:
        """The caller itself set `stream_options.include_usage`."""
        return isinstance(self.stream_options, dict) and self.stream_options.get("include_usage") is True

    def labels(self) -> dict[str, str]:
        """`metadata` as far as it is what OpenAI allows: text by text."""
        if not isinstance(self.metadata, dict):
            return {}
        return {k: v for k, v in self.metadata.items() if isinstance(k, str) and isinstance(v, str)}


_decoder = msgspec.json.Decoder(Call)


def read_call(body: bytes) -> Call:
    """Raises `ClientFault` (400) when `body` is not a JSON object, or `model` or `stream` has the wrong type."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        param = str(error).rpartition("`$.")[2].rstrip("`") if "`$." in str(error) else None
        raise ClientFault(
            f"The request body has a field of the wrong type: {error}.", code="invalid_type", param=param
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientFault(f"The request body is not valid JSON: {error}.", code="invalid_json") from error
