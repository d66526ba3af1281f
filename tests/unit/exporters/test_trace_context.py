"""Trace context: what W3C calls invalid begins a new trace, and what is valid reads as OpenTelemetry reads it."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from exporters import trace_context as tc

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01".encode()


def test_reads_the_header_of_the_specification() -> None:
    assert tc.parse_traceparent(VALID) == (TRACE, SPAN, 1)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"00",
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}-01-extra".encode(),
        f"00-{TRACE}-{SPAN}-01 ".encode(),
        f"00-{TRACE}-{SPAN}-01\n".encode(),
        f"00-{TRACE[:-2]}_1-{SPAN}-01".encode(),
        f"01-{TRACE}-{SPAN}-01extra".encode(),
        VALID + b"," + VALID,
    ],
)
def test_an_invalid_header_is_no_header(header: bytes | None) -> None:
    assert tc.parse_traceparent(header) is None


def test_a_later_version_is_read_by_the_rules_of_this_one() -> None:
    assert tc.parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-comes-then".encode()) == (TRACE, SPAN, 1)


def _opentelemetry(header: bytes) -> tuple[str, str] | None:
    context = TraceContextTextMapPropagator().extract({"traceparent": header.decode("latin-1")})
    span = trace.get_current_span(context).get_span_context()
    return (f"{span.trace_id:032x}", f"{span.span_id:016x}") if span.is_valid else None


@given(st.from_regex(rb"\A(0[01]|cc|ff)-[0-9a-f]{32}-(0{16}|[0-9a-f]{16})-[0-9a-f]{2}(-[a-z]{1,3})?\Z"))
def test_agrees_with_the_propagator_of_opentelemetry(header: bytes) -> None:
    read = tc.parse_traceparent(header)
    assert (read[:2] if read else None) == _opentelemetry(header)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(header: bytes) -> None:
    read = tc.parse_traceparent(header)
    assert read is None or header.startswith(f"{header[:2].decode()}-{read.trace_id}-{read.span_id}-".encode())


@pytest.mark.parametrize(
    ("received", "flags"),
    [
        (None, b"01"),
        (VALID, b"01"),
        (VALID[:-2] + b"00", b"00"),
        (VALID[:-2] + b"03", b"03"),
        (VALID[:-2] + b"fe", b"02"),
    ],
)
def test_goes_on_with_the_callers_flags_as_far_as_they_are_known(received: bytes | None, flags: bytes) -> None:
    assert tc.format_traceparent(TRACE, "1" * 16, received) == f"00-{TRACE}-{'1' * 16}-".encode() + flags


@pytest.mark.parametrize(
    ("header", "members"),
    [
        ("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", [("congo", "t61rcWkgMzE"), ("rojo", "00f067aa0ba902b7")]),
        (" a=1 ,, b=2\t", [("a", "1"), ("b", "2")]),
        ("fw529a3039@dt=FfA", [("fw529a3039@dt", "FfA")]),
        ("a=1,a=2", []),
        ("A=1", []),
        ("a=", []),
        ("a=b=c", []),
        ("a=1,b", []),
        (",".join(f"k{n}=v" for n in range(33)), []),
        ("", []),
    ],
)
def test_tracestate_is_whole_or_nothing(header: str, members: list[tuple[str, str]]) -> None:
    assert tc.parse_tracestate(header) == members


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("user.id=abc,session.id=x%20y;property=1", {"user.id": "abc", "session.id": "x y"}),
        (" penstock.tag.team = blue ; p", {"penstock.tag.team": "blue"}),
        ("name=Am%C3%A9lie", {"name": "Amélie"}),
        ("broken=%ff", {"broken": "�"}),
        ("empty=", {"empty": ""}),
        ("a=1,a=2", {"a": "2"}),
        ("base64=aGk=", {"base64": "aGk="}),
        ('b{}=1,c="x",nothing,=x,d=a b,ok=1', {"ok": "1"}),
        ("é=1,f=é", {}),
        ("", {}),
    ],
)
def test_baggage(header: str, found: dict[str, str]) -> None:
    assert tc.parse_baggage(header) == found


@given(
    st.dictionaries(
        st.from_regex(r"\A[a-z][a-z.]{0,10}\Z"),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        max_size=8,
    )
)
def test_baggage_reads_what_opentelemetry_writes(entries: dict[str, str]) -> None:
    from urllib.parse import quote

    header = ",".join(f"{name}={quote(value, safe='')}" for name, value in entries.items())
    assert tc.parse_baggage(header) == entries
    if header:
        theirs = get_all(W3CBaggagePropagator().extract({"baggage": header}))
        assert {name: value.strip() for name, value in entries.items() if value.strip()} == {
            name: value for name, value in theirs.items() if value
        }


def test_baggage_is_looked_at_up_to_its_limits() -> None:
    assert len(tc.parse_baggage(",".join(f"n{number}=1" for number in range(100)))) == tc.BAGGAGE_MEMBERS_MAX
    assert "last" not in tc.parse_baggage("long=" + "x" * tc.BAGGAGE_BYTES_MAX + ",last=1")


@given(st.integers(min_value=0, max_value=(2**48 - 1) * 1_000_000))
def test_a_request_id_is_a_uuid_of_its_time(now_ns: int) -> None:
    made = tc.new_request_id(now_ns)
    assert re.fullmatch("[0-9a-f]{32}", made)
    read = uuid.UUID(made)
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert int(made[:12], 16) == now_ns // 1_000_000


@given(st.integers(min_value=0, max_value=2**60), st.integers(min_value=300, max_value=10**12))
def test_request_ids_sort_by_time(now_ns: int, later_ns: int) -> None:
    assert tc.new_request_id(now_ns) < tc.new_request_id(now_ns + later_ns)


def test_ids_are_distinct_and_never_zero() -> None:
    spans = {tc.new_span_id() for _ in range(1000)}
    traces = {tc.new_trace_id() for _ in range(1000)} | {tc.new_request_id(1) for _ in range(1000)}
    assert len(spans) == 1000
    assert len(traces) == 2000
    assert all(re.fullmatch("[0-9a-f]{16}", made) for made in spans)
    assert all(re.fullmatch("[0-9a-f]{32}", made) for made in traces)
