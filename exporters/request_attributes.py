"""Request parameters as span attributes: `gen_ai.request.*`, `gen_ai.output.type`, and the whole as JSON text.

The caller may have sent anything under these names; only what has the type that the conventions give is an attribute
of its own. The JSON text in `penstock.request.parameters` keeps the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

_INT64_MAX: Final = 2**63 - 1
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _INT64_MAX:
        return None
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or not math.isfinite(value):
        return None
    return float(value)


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return list(value)
    return None


def _choices(value: Any) -> int | None:
    # The conventions want the number of choices only when it is not the usual one.
    return None if value == 1 else _whole(value)


_TABLE: Final[dict[str, tuple[str, Callable[[Any], int | float | list[str] | None]]]] = {
    "temperature": ("gen_ai.request.temperature", _number),
    "top_p": ("gen_ai.request.top_p", _number),
    "top_k": ("gen_ai.request.top_k", _number),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", _number),
    "presence_penalty": ("gen_ai.request.presence_penalty", _number),
    "max_tokens": ("gen_ai.request.max_tokens", _whole),
    "max_completion_tokens": ("gen_ai.request.max_tokens", _whole),
    "max_output_tokens": ("gen_ai.request.max_tokens", _whole),
    "seed": ("gen_ai.request.seed", _whole),
    "n": ("gen_ai.request.choice.count", _choices),
    "stop": ("gen_ai.request.stop_sequences", _texts),
    "encoding_format": ("gen_ai.request.encoding_formats", _texts),
    "dimensions": ("gen_ai.embeddings.dimension.count", _whole),
}

_FORMATS: Final = {"text": "text", "json_object": "json", "json_schema": "json"}


def request_attributes(parameters: Mapping[str, Any]) -> dict[str, str | bool | int | float | list[str]]:
    found: dict[str, str | bool | int | float | list[str]] = {
        "penstock.request.parameters": _encoder.encode(parameters).decode()
    }
    for name, value in parameters.items():
        entry = _TABLE.get(name)
        if entry is not None and value is not None and (typed := entry[1](value)) is not None:
            found[entry[0]] = typed
    if kind := _output_type(parameters):
        found["gen_ai.output.type"] = kind
    return found


def _output_type(parameters: Mapping[str, Any]) -> str:
    """What the caller asked to be given: text, json, speech; "" when it did not say."""
    modalities = parameters.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        return "speech"
    chosen = parameters.get("response_format")
    if chosen is None and isinstance(text := parameters.get("text"), dict):
        chosen = text.get("format")
    kind = chosen.get("type") if isinstance(chosen, dict) else None
    return _FORMATS.get(kind, "") if isinstance(kind, str) else ""
