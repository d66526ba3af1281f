"""The OTLP sink against endpoints of either kind that accept, refuse, are busy, stall or are not there."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import add_TraceServiceServicer_to_server

from exporters.otlp import OtlpSink
from exporters.otlp_transport import Target
from exporters.sink import Batch, BatchRefused, SinkUnavailable
from tests.ports import held_port
from tests.unit.exporters.a_record import record
from tests.wire.otlp_endpoint import Endpoint, Service, grpc_endpoint, http_endpoint


@pytest.fixture
def http() -> Iterator[Endpoint]:
    with http_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def over_grpc() -> Iterator[Endpoint]:
    with grpc_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(params=["http", "over_grpc"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return request.getfixturevalue(request.param)


def batch(*records: Any, token: str = "1") -> Batch:
    return Batch(token=token, records=records or (record(),))


def attributes(span: Any) -> dict[str, str]:
    return {item.key: item.value.string_value for item in span.attributes}


def test_spans_arrive_with_their_resource_and_headers(endpoint: Endpoint) -> None:
    sink = endpoint.sink(target={"headers": {"X-Team": "blue"}})
    sink.write(batch())
    sink.close()
    (request,) = endpoint.requests
    exchange, child = endpoint.spans
    assert exchange.name == "chat gpt-4o-mini"
    assert exchange.span_id.hex() == child.parent_span_id.hex() == "2" * 16
    assert exchange.trace_state == "vendor=value"
    assert attributes(exchange)["gen_ai.request.model"] == "gpt-4o-mini"
    assert attributes(request.resource_spans[0].resource)["service.name"] == "penstock"
    assert request.resource_spans[0].scope_spans[0].scope.name == "penstock"
    assert endpoint.headers[0]["x-team"] == "blue"


def test_headers_of_the_environment_do_not_go_to_other_endpoints(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret")
    sink = endpoint.sink()
    sink.write(batch())
    sink.close()
    assert "authorization" not in endpoint.headers[0]


def test_compressed(endpoint: Endpoint) -> None:
    sink = endpoint.sink(target={"compression": "gzip"})
    sink.write(batch())
    sink.close()
    assert len(endpoint.spans) == 2


MENDABLE_HTTP = [401, 403, 404, 405, 408, 415, 429, 500, 502, 503, 504, 301]
REFUSED_HTTP = [400, 413, 422]
MENDABLE_GRPC = [
    "UNAVAILABLE",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
    "INTERNAL",
]
REFUSED_GRPC = ["INVALID_ARGUMENT", "FAILED_PRECONDITION"]


@pytest.mark.parametrize("status", MENDABLE_HTTP + REFUSED_HTTP)
def test_whose_fault_an_http_status_is(http: Endpoint, status: int) -> None:
    http.answers = [status]
    sink = http.sink()
    with pytest.raises(SinkUnavailable if status in MENDABLE_HTTP else BatchRefused, match=f"HTTP {status}"):
        sink.write(batch())
    sink.write(batch())
    sink.close()
    assert len(http.requests) == 2


@pytest.mark.parametrize("code", MENDABLE_GRPC + REFUSED_GRPC)
def test_whose_fault_a_grpc_code_is(over_grpc: Endpoint, code: str) -> None:
    over_grpc.answers = [grpc.StatusCode[code]]
    sink = over_grpc.sink()
    with pytest.raises(SinkUnavailable if code in MENDABLE_GRPC else BatchRefused, match=code):
        sink.write(batch())
    sink.write(batch())
    sink.close()
    assert len(over_grpc.requests) == 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_endpoint_that_is_not_there_is_unavailable(protocol: str) -> None:
    with held_port() as port:
        sink = OtlpSink(Target(url=f"http://127.0.0.1:{port}", protocol=protocol), name="x")
        with pytest.raises(SinkUnavailable):
            sink.write(batch())
        sink.close()


def test_an_endpoint_that_stalls_is_unavailable(endpoint: Endpoint) -> None:
    endpoint.stalls = threading.Event()
    sink = endpoint.sink(target={"timeout_s": 0.3})
    with pytest.raises(SinkUnavailable):
        sink.write(batch())
    sink.close()


def test_failures_name_no_secret(http: Endpoint) -> None:
    http.answers = [503]
    http.url = http.url.replace("127", "user:hunter2@127") + "?key=hunter2"
    sink = http.sink(target={"headers": {"authorization": "hunter2"}})
    with pytest.raises(SinkUnavailable) as raised:
        sink.write(batch())
    sink.close()
    assert "hunter2" not in str(raised.value)


def test_spans_that_were_turned_down_are_counted_and_logged_once_a_minute(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == "exporters.otlp"]

    endpoint.rejects = 2
    now = [0.0]
    sink = endpoint.sink(clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "exporters.otlp"):
        for token in ("1", "2"):
            sink.write(batch(token=token))
        assert len(said()) == 1
        now[0] = 61.0
        sink.write(batch(token="3"))
    sink.close()
    assert sink.rejected == 6
    assert len(said()) == 2
    assert "turned down 2 spans; 6 since the start" in said()[1]


def large(number: int, characters: int) -> Any:
    messages = json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": "ü" * characters}]}], ensure_ascii=False
    )
    return record(input_messages=messages, request_id=f"{number:032x}", span_id=f"{number + 1:016x}")


def test_a_large_batch_goes_in_requests_that_fit(endpoint: Endpoint) -> None:
    records = [large(number, 2000 * (number % 7)) for number in range(40)]
    sink = endpoint.sink(request_bytes_max=60_000, dialect="openinference")
    sink.write(batch(*records))
    sink.close()
    assert max(request.ByteSize() for request in endpoint.requests) <= 60_000
    sent = [attributes(span)["penstock.request.id"] for span in endpoint.spans if span.name != "POST"]
    assert sent == [item.request_id for item in records]


def test_a_record_too_large_for_any_request_goes_without_its_content(endpoint: Endpoint) -> None:
    sink = endpoint.sink()
    sink.write(batch(large(1, 3_000_000), large(2, 10)))
    sink.close()
    exchanges = [span for span in endpoint.spans if span.name != "POST"]
    shown = ["gen_ai.input.messages" in attributes(span) for span in exchanges]
    assert shown == [False, True]
    truncated = {item.key: item.value.bool_value for item in exchanges[0].attributes}
    assert truncated["penstock.truncated"] is True
    assert sink.shortened == 1


def test_a_retry_does_not_send_again_what_has_arrived(http: Endpoint) -> None:
    records = [large(number, 2000) for number in range(8)]
    http.answers = [None, None, 503]
    sink = http.sink(request_bytes_max=20_000)
    with pytest.raises(SinkUnavailable):
        sink.write(batch(*records))
    assert len(http.requests) == 3
    arrived = [attributes(s)["penstock.request.id"] for r in http.requests[:2] for s in _spans(r) if s.name != "POST"]
    del http.requests[:]
    sink.write(batch(*records))
    later = [attributes(span)["penstock.request.id"] for span in http.spans if span.name != "POST"]
    assert arrived + later == [item.request_id for item in records]
    sink.write(batch(record(), token="2"))
    sink.close()
    assert len(http.spans) == 2 * len(later) + 2


def _spans(request: ExportTraceServiceRequest) -> list[Any]:
    return [span for r in request.resource_spans for scope in r.scope_spans for span in scope.spans]


@pytest.mark.parametrize(("content", "shown"), [("full", "jane@example.com"), ("redacted", "[EMAIL]"), ("off", None)])
def test_each_sink_has_its_own_measure_of_content(http: Endpoint, content: str, shown: str | None) -> None:
    sink = http.sink(content=content, dialect="openinference")
    sink.write(batch(record(input_messages='[{"role":"user","parts":[{"type":"text","content":"jane@example.com"}]}]')))
    sink.close()
    found = attributes(http.spans[0])
    assert found["penstock.content"] == content
    if shown is None:
        assert not [name for name in found if "message" in name]
    else:
        assert shown in found["gen_ai.input.messages"]
        assert found["llm.input_messages.1.message.content"] == shown


def test_a_record_that_is_no_span_is_refused(http: Endpoint) -> None:
    sink = http.sink()
    for broken in (record(span_id="zz"), record(start_ns=2**70, end_ns=2**70)):
        with pytest.raises(BatchRefused):
            sink.write(batch(broken))
    sink.close()
    assert http.requests == []


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("localhost")
    endpoint = Endpoint(protocol="grpc")
    credentials = grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())])
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add_TraceServiceServicer_to_server(Service(endpoint), server)
        endpoint.url = f"https://localhost:{server.add_secure_port('localhost:0', credentials)}"
        server.start()
        stranger, friend = endpoint.sink(), endpoint.sink(target={"ca_file": str(tmp_path / "ca.pem")})
        with pytest.raises(SinkUnavailable):
            stranger.write(batch())
        friend.write(batch())
        stranger.close()
        friend.close()
        server.stop(0).wait(5)
    assert len(endpoint.spans) == 2
