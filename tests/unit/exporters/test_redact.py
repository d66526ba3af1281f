"""Redaction: what is private goes, what only looks like it stays, and JSON stays the JSON that it was."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.redact import BUILT_IN_REDACTOR, Redactor
from tests.unit.exporters.a_record import record

KEY = "sk-proj-" + "a1B2" * 10
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

PRIVATE = [
    ("write to jane.doe+x@mail.example.com now", "write to [EMAIL] now"),
    ("schreib an jürgen@bücher.example bitte", "schreib an [EMAIL] bitte"),
    (f"key={KEY}", "key=[API_KEY]"),
    ("sk-ant-api03-" + "x" * 40, "[API_KEY]"),
    ("AKIAIOSFODNN7EXAMPLE", "[API_KEY]"),
    ("ghp_" + "a" * 36, "[API_KEY]"),
    ("github_pat_" + "a" * 30, "[API_KEY]"),
    ("glpat-" + "a" * 20, "[API_KEY]"),
    ("xoxb-123456789012-abcdefghij", "[API_KEY]"),
    ("AIza" + "a" * 35, "[API_KEY]"),
    ("hf_" + "a" * 34, "[API_KEY]"),
    ("sk_live_" + "a" * 24, "[API_KEY]"),
    ("Authorization: Bearer abc123def456ghi", "Authorization: Bearer [CREDENTIALS]"),
    ("authorization: basic dXNlcjpwYXNzd29yZA==", "authorization: basic [CREDENTIALS]"),
    ("postgres://app:hunter2@db/x", "postgres://[CREDENTIALS]@db/x"),
    ("password = hunter2!", "password = [SECRET]"),
    ('client_secret: "abcdef12345"', 'client_secret: "[SECRET]"'),
    (f"token {JWT}.", "token [JWT]"),
    (f"key:\n{PEM}\nend", "key:\n[PRIVATE_KEY]\nend"),
    ("cut off: " + PEM[:45], "cut off: [PRIVATE_KEY]"),
    ("card 4111 1111 1111 1111, thanks", "card [CREDIT_CARD], thanks"),
    ("card 5500-0000-0000-0004 42", "card [CREDIT_CARD] 42"),
    ("42 4111111111111111", "42 [CREDIT_CARD]"),
    ("4111 4111 1111 1111 1111", "4111 [CREDIT_CARD]"),
    ("IBAN DE89 3704 0044 0532 0130 00 AND MORE", "IBAN [IBAN] AND MORE"),
    ("GB82WEST12345698765432", "[IBAN]"),
    ("ssn 123-45-6789", "ssn [US_SSN]"),
    ("call +1 415 555 0132 today", "call [PHONE] today"),
    ("call +49 (0)30 1234567 today", "call [PHONE] today"),
    ("call 0049 30 1234567 today", "call [PHONE] today"),
    ("call (415) 555-0132 today", "call [PHONE] today"),
    ("call 415-555-0132 today", "call [PHONE] today"),
    ("from 203.0.113.7:443", "from [IP_ADDRESS]:443"),
    ("from 2001:db8::8a2e:370:7334.", "from [IP_ADDRESS]."),
    ("from fe80::1%eth0", "from [IP_ADDRESS]%eth0"),
    ("a@b.co and c@d.co", "[EMAIL] and [EMAIL]"),
]

HARMLESS = [
    "The quick brown fox jumps over the lazy dog at 12:30:45 on 2026-11-23.",
    "4111 1111 1111 1112 fails Luhn, and so does 1234567890123456.",
    "DE89370400440532013001 has wrong check digits",
    "000-12-3456 and 666-12-3456 and 900-12-3456 were never given out",
    "std::vector<int> a::b Foo::Bar c0de::",
    "127.0.0.1 and ::1 and 0.0.0.0 are nobody; 999.1.1.1 is nothing",
    "basic authentication and bearer capabilities are words",
    "sk-learn is a library, sk-1 is nothing",
    "pi is 3.14159265358979 and c is 299792458",
    "commit 4565a70b1fadffc72da5fb1684bf6 of 2026",
    "the password is long",
    "chatcmpl-AbC123dEf456 and resp_0a1b2c3d4e5f",
    "id 01a206496d60734f8ef6134652097c78, span 218e98cd1f20c747",
    "",
]


@pytest.mark.parametrize(("text", "redacted"), PRIVATE)
def test_private_text_is_replaced(text: str, redacted: str) -> None:
    assert BUILT_IN_REDACTOR.redact_text(text) == redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_the_same_object(text: str) -> None:
    assert BUILT_IN_REDACTOR.redact_text(text) is text


@pytest.mark.parametrize(("text", "redacted"), PRIVATE)
def test_the_same_in_json_however_it_is_escaped(text: str, redacted: str) -> None:
    for body in (
        json.dumps({"x": [text]}),
        json.dumps({"x": ["ü\n" + text]}),
        json.dumps({"x": [text]}).replace("a", "\\u0061"),
    ):
        expected = json.loads(body)["x"][0].replace(text, redacted)
        assert json.loads(BUILT_IN_REDACTOR.redact_json(body.encode())) == {"x": [expected]}


@given(st.text(max_size=40), st.sampled_from(PRIVATE), st.text(max_size=40))
def test_redacting_twice_changes_nothing_more(before: str, sample: tuple[str, str], after: str) -> None:
    once = BUILT_IN_REDACTOR.redact_text(f"{before} {sample[0]} {after}")
    assert BUILT_IN_REDACTOR.redact_text(once) == once


json_documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)  # A longer one may be a card's, which is hidden.
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from([p for p, _ in PRIVATE]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _shape(node: object) -> object:
    if isinstance(node, dict):
        return {key: _shape(value) for key, value in node.items()}
    return [_shape(item) for item in node] if isinstance(node, list) else node if not isinstance(node, str) else "text"


@given(json_documents)
def test_json_keeps_its_shape_its_keys_and_its_numbers(document: object) -> None:
    redacted = json.loads(BUILT_IN_REDACTOR.redact_json(json.dumps(document).encode()))
    assert _shape(redacted) == _shape(document)


@given(json_documents, st.integers(min_value=0, max_value=400))
def test_json_that_was_cut_off_holds_no_more_than_the_whole_one(document: object, at: int) -> None:
    body = json.dumps([document, {"mail": "\n\u00fc jane@example.com"}]).encode()
    assert b"jane@example.com" not in BUILT_IN_REDACTOR.redact_json(body[:at])


def test_json_that_was_cut_off_keeps_what_there_is_of_it() -> None:
    cut = BUILT_IN_REDACTOR.redact_json
    assert cut(b'{"a":"x\\n a@b.co and more') == b'{"a":"x\\n [EMAIL] and more'
    assert cut(b'{"a":"x\\n a@b.co and \\u00') == b'{"a":"x\\n [EMAIL] and '


def test_unchanged_json_is_the_same_object_and_changed_json_keeps_its_blanks() -> None:
    body = b'{ "a" : [1.0, 1e3,\t"x\\ny"],\n"jane@example.com": true }'
    assert BUILT_IN_REDACTOR.redact_json(body) is body
    body = b'{ "a" : [1.0, 1e3,\t"jane@example.com"] }'
    assert BUILT_IN_REDACTOR.redact_json(body) == b'{ "a" : [1.0, 1e3,\t"[EMAIL]"] }'


def test_a_card_as_a_number_becomes_a_string_and_other_numbers_stay() -> None:
    body = b'{"mail":"a@b.co","card":4111111111111111,"id":1795400978123456,"x":4111111111111111.5}'
    assert BUILT_IN_REDACTOR.redact_json(body) == (
        b'{"mail":"[EMAIL]","card":"[CREDIT_CARD]","id":1795400978123456,"x":4111111111111111.5}'
    )


def test_json_lines_and_text_that_is_no_json() -> None:
    assert BUILT_IN_REDACTOR.redact_json(b'{"a":"a@b.co"}\n{"a":1}\n') == b'{"a":"[EMAIL]"}\n{"a":1}\n'
    assert BUILT_IN_REDACTOR.redact_json(b'{"a":1}\nmail a@b.co\n') == b'{"a":1}\nmail [EMAIL]\n'
    assert BUILT_IN_REDACTOR.redact_json(b"mail a@b.co \xff") == b"mail [EMAIL] \xff"


def test_a_lone_surrogate_does_not_break_the_json() -> None:
    body = b'{"a":"\\ud800\\na@b.co"}'
    assert json.loads(BUILT_IN_REDACTOR.redact_json(body)) == {"a": "\ud800\n[EMAIL]"}


def test_users_patterns_run_after_the_built_in_ones() -> None:
    redactor = Redactor((r"ACME-\d+", r"(?i)projekt übermut"))
    assert redactor.redact_text("ACME-17, Projekt Übermut, a@b.co") == "[REDACTED], [REDACTED], [EMAIL]"
    assert redactor.redact_json(b'{"a":"ACME-17"}') == b'{"a":"[REDACTED]"}'


@pytest.mark.parametrize("pattern", ["(", "(?=x)y", r"(a)\1", "x*", ""])
def test_a_pattern_that_cannot_be_used_is_refused_by_name(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="The pattern"):
        Redactor((pattern,))
    assert capfd.readouterr() == ("", "")


HOSTILE = ["(a+)+$", r"(\w+\s?)*!", "(x+x+)+y"]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_pattern_that_would_hang_a_backtracking_engine_does_not(pattern: str) -> None:
    text = "a" * 200_000 + "x" * 200_000
    assert len(Redactor((pattern,)).redact_text(text)) <= len(text)


@pytest.mark.parametrize(
    "piece",
    [":", "a:", "1.1.", "://a:", "DE89 3704 ", "4", "4-", "eyJ", "a@", "password=", "-----BEGIN PRIVATE KEY", "+1 "],
)
def test_false_starts_without_end_do_not_hang_it(piece: str) -> None:
    text = (piece * 300_000)[:300_000]
    BUILT_IN_REDACTOR.redact_text(text)


def test_a_record_is_redacted_in_all_that_is_content() -> None:
    dirty = record(
        input_messages=json.dumps([{"role": "user", "parts": [{"type": "text", "content": "a@b.co"}]}]),
        output_messages='[{"x":"a@b.co"}]',
        system_instructions='["a@b.co"]',
        tool_definitions='[{"name":"a@b.co"}]',
        parameters={"stop": ["a@b.co"], "temperature": 0.5},
        error_message="no such mailbox a@b.co",
        request_body=b'{"a":"a@b.co"}',
        request_type="application/json",
        response_body=b"data: a@b.co\n\n",
        response_type="text/event-stream",
        user="a@b.co",
    )
    clean = BUILT_IN_REDACTOR.redact_record(dirty)
    assert clean.content == "redacted"
    assert clean.user == "a@b.co"
    assert "a@b.co" not in repr({name: getattr(clean, name) for name in clean.__struct_fields__ if name != "user"})
    assert clean.parameters == {"stop": ["[EMAIL]"], "temperature": 0.5}
    assert json.loads(clean.input_messages or "")[0]["parts"][0]["content"] == "[EMAIL]"
    assert dirty.content == "full"


def test_a_record_without_content_is_left_alone() -> None:
    off = record(content="off")
    assert BUILT_IN_REDACTOR.redact_record(off) is off


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "kept"),
    [
        (b'{"a":"a@b.co"}', "application/json; charset=utf-8", "", b'{"a":"[EMAIL]"}'),
        (b'{"a":"a@b.co"}', "application/problem+json", "", b'{"a":"[EMAIL]"}'),
        (b"a@b.co", "text/plain", "identity", b"[EMAIL]"),
        (b"\x1f\x8b", "application/json", "gzip", None),
        (b"\x89PNG", "image/png", "", None),
        (b"--x\r\n", "multipart/form-data; boundary=x", "", None),
    ],
)
def test_a_body_is_kept_only_if_it_can_be_looked_into(
    body: bytes, kind: str, encoding: str, kept: bytes | None
) -> None:
    assert BUILT_IN_REDACTOR.redact_body(body, kind, encoding) == kept


# Streams


def stream(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def deltas(*pieces: str, index: int = 0) -> list[object]:
    return [{"id": "c", "choices": [{"index": index, "delta": {"content": piece}}]} for piece in pieces]


def assembled(body: bytes, index: int = 0) -> str:
    text = ""
    for line in body.splitlines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"]["content"] if choice["index"] == index else ""
    return text


def redact_stream(body: bytes) -> bytes:
    redacted = BUILT_IN_REDACTOR.redact_body(body, "text/event-stream")
    assert redacted is not None
    return redacted


@pytest.mark.parametrize(("text", "redacted"), PRIVATE)
@pytest.mark.parametrize("width", [1, 7])
def test_a_secret_in_pieces_is_found(text: str, redacted: str, width: int) -> None:
    pieces = [text[at : at + width] for at in range(0, len(text), width)]
    body = stream(*deltas("Well: ", *pieces, " ok"))
    kept = redact_stream(body)
    assert assembled(kept) == f"Well: {redacted} ok" or text.startswith("cut off")
    assert kept.count(b"data:") == body.count(b"data:")


def test_a_stream_without_secrets_is_the_same_object() -> None:
    body = stream(*deltas("Hello", " world"))
    assert redact_stream(body) is body


def test_choices_are_not_mixed_up() -> None:
    first, second = ((0, "jane@"), (1, "Hi ")), ((1, "there"), (0, "example.com"))
    body = stream(
        *({"choices": [{"index": n, "delta": {"content": text}} for n, text in both]} for both in (first, second))
    )
    kept = redact_stream(body)
    assert (assembled(kept, 0), assembled(kept, 1)) == ("[EMAIL]", "Hi there")


def test_typed_events_and_tool_arguments() -> None:
    delta = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0}
    arguments = {"type": "response.function_call_arguments.delta", "item_id": "f", "output_index": 1}
    body = stream(
        {**delta, "sequence_number": 1, "delta": "jane@exam"},
        {**arguments, "sequence_number": 2, "delta": '{"to":"jane@'},
        {**delta, "sequence_number": 3, "delta": "ple.com"},
        {**arguments, "sequence_number": 4, "delta": 'example.com"}'},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "jane@example.com"}]}]}},
    )
    kept = redact_stream(body)
    events = [json.loads(line[6:]) for line in kept.splitlines() if line.startswith(b"data: {")]
    assert [event.get("delta") for event in events] == ["[EMAIL]", '{"to":"[EMAIL]"}', "", "", None]
    assert events[4]["response"]["output"][0]["content"][0]["text"] == "[EMAIL]"
    assert b"jane" not in kept


def test_a_stream_that_was_cut_off_loses_its_broken_last_line() -> None:
    body = stream(*deltas("Hello"))[: -len(b"data: [DONE]\n\n")] + b'data: {"choices":[{"delta":{"content":"sk-abc'
    assert redact_stream(body) == stream(*deltas("Hello"))[: -len(b"data: [DONE]\n\n")]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_stream(body: bytes) -> None:
    redact_stream(body)


def test_images_in_data_urls_stay() -> None:
    body = json.dumps({"url": "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 40).decode()}).encode()
    assert BUILT_IN_REDACTOR.redact_json(body) is body
