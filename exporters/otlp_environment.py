"""The OTLP endpoint that the standard `OTEL_*` variables describe, beside those of the configuration file.

Source: the OpenTelemetry specification, "OTLP Exporter Configuration" and "SDK environment variables". A variable for
traces wins over the one for all signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from .otlp import OtlpSink
from .otlp_transport import TIMEOUT_S, Target
from .redact import BUILT_IN_REDACTOR, Redactor
from .spans import Content

_CONTENT: Final[Mapping[str, Content]] = {
    "no_content": "off",
    "event_only": "off",
    "span_only": "full",
    "span_and_event": "full",
    "false": "off",
    "true": "full",
}

_PROTOCOLS: Final[Mapping[str, Literal["http/protobuf", "grpc"]]] = {
    "": "http/protobuf",
    "http/protobuf": "http/protobuf",
    "grpc": "grpc",
}
_COMPRESSIONS: Final[Mapping[str, Literal["none", "gzip"]]] = {"": "none", "none": "none", "gzip": "gzip"}


def sinks_from_environment(environ: Mapping[str, str], *, redactor: Redactor = BUILT_IN_REDACTOR) -> list[OtlpSink]:
    """At most one sink, named `otlp-environment`; none without an endpoint, or when the SDK or traces are turned off.

    Content goes there only when `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says so, as the GenAI conventions
    want it: whoever set the endpoint may not have thought of prompts. Raises `ValueError`, naming the variable, for a
    value that cannot be used.
    """
    target = target_from_environment(environ)
    if target is None:
        return []
    return [OtlpSink(target, name="otlp-environment", content=content_from_environment(environ), redactor=redactor)]


def content_from_environment(environ: Mapping[str, str]) -> Content:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    value = environ.get(name, "").strip().lower() or "no_content"
    if value not in _CONTENT:
        raise ValueError(f"{name} is {value!r}; it can be NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT.")
    return _CONTENT[value]


def target_from_environment(environ: Mapping[str, str]) -> Target | None:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None

    def value(name: str) -> str:
        return (
            environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
        ).strip()

    if not value("ENDPOINT"):
        return None
    protocol = _PROTOCOLS.get(value("PROTOCOL"))
    if protocol is None:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {value('PROTOCOL')!r}; it can be http/protobuf or grpc.")
    compression = _COMPRESSIONS.get(value("COMPRESSION"))
    if compression is None:
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {value('COMPRESSION')!r}; it can be none or gzip.")
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    return Target(
        url=grpc_url(value("ENDPOINT"), insecure=value("INSECURE").lower() == "true")
        if protocol == "grpc"
        else own or f"{value('ENDPOINT').rstrip('/')}/v1/traces",
        protocol=protocol,
        headers=parse_env_headers(value("HEADERS"), liberal=True),
        timeout_s=_timeout_s(value("TIMEOUT")),
        compression=compression,
        ca_file=value("CERTIFICATE") or None,
        client_certificate_file=value("CLIENT_CERTIFICATE") or None,
        client_key_file=value("CLIENT_KEY") or None,
    )


def target_from_configuration(
    endpoint: str, *, protocol: str = "http/protobuf", headers: Mapping[str, str], timeout_s: float = TIMEOUT_S
) -> Target:
    """An endpoint of `[[otlp]]`. One without a path gets `/v1/traces`; one with a path is taken as it is.

    No endpoint is waited for without end: a timeout of 0 is the usual one.

    Raises `ValueError` when it is no http or https URL.
    """
    timeout_s = timeout_s or TIMEOUT_S
    if protocol == "grpc":
        return Target(url=grpc_url(endpoint, insecure=False), protocol="grpc", headers=headers, timeout_s=timeout_s)
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"The OTLP endpoint {endpoint!r} must be a http or https URL.")
    url = f"{parts.scheme}://{parts.netloc}/v1/traces" if parts.path in ("", "/") else endpoint
    return Target(url=url, headers=headers, timeout_s=timeout_s)


def grpc_url(endpoint: str, *, insecure: bool) -> str:
    """`host:port` with the scheme that decides about TLS: the endpoint's own, else https unless `insecure`."""
    if "://" not in endpoint:
        endpoint = f"{'http' if insecure else 'https'}://{endpoint}"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"The OTLP endpoint {endpoint!r} must be host:port, or a http or https URL.")
    return f"{parts.scheme}://{parts.netloc if parts.port else f'{parts.netloc}:4317'}"


def _timeout_s(text: str) -> float:
    """Seconds, as every SDK but the specification's newest draft reads it."""
    try:
        seconds = float(text or TIMEOUT_S)
    except ValueError as exc:
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT is {text!r}; it is a number of seconds.") from exc
    return seconds if seconds > 0 else TIMEOUT_S
