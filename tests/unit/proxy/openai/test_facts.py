"""The facts of whole replies, also of strange ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.facts import MESSAGE_MAX, Facts, facts_of, ordinary_facts, unary_facts
from proxy.openai.replay_whole import is_whole, whole_facts
from proxy.openai.usage import Usage

CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-x-2026",
    "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}, {"finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    "service_tier": "flex",
    "system_fingerprint": "fp_1",
}


def read(value: Any) -> Facts:
    return unary_facts("chat", json.dumps(value).encode())


def test_chat() -> None:
    usage = Usage(input_tokens=3, output_tokens=4)
    assert read(CHAT) == Facts(usage, "flex", "chatcmpl-1", "gpt-x-2026", ("stop", "length"), "fp_1")


@pytest.mark.parametrize("field", list(CHAT))
@pytest.mark.parametrize("wrong", [None, 7, [7], {"a": 1}, "text"])
def test_a_field_of_a_wrong_type_costs_only_itself(field: str, wrong: Any) -> None:
    facts = read({**CHAT, field: wrong})
    untouched = read({name: value for name, value in CHAT.items() if name != field})
    same = facts._replace(response_id="", response_model="", service_tier="", system_fingerprint="")
    assert same == untouched._replace(response_id="", response_model="", service_tier="", system_fingerprint="")


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        ({"status": "completed", "output": [{"type": "message"}]}, ("stop",)),
        ({"status": "completed", "output": [{"type": "reasoning"}, {"type": "function_call"}]}, ("tool_calls",)),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, ("length",)),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, ("content_filter",)),
        ({"status": "incomplete", "incomplete_details": None}, ("length",)),
        ({"status": "failed", "output": []}, ("error",)),
        ({"status": "in_progress"}, ()),
        ({"status": "completed"}, ()),
    ],
)
def test_how_a_response_ended(reply: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert read(reply).finish_reasons == reasons


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"error": {"message": "No.", "type": "invalid_request_error", "code": "bad"}}, ("bad", "No.")),
        (
            {"error": {"message": "No.", "type": "invalid_request_error", "code": None}},
            ("invalid_request_error", "No."),
        ),
        ({"error": "No."}, ("", "No.")),
        ({"detail": "No."}, ("", "No.")),
        ({"object": "error", "message": "No."}, ("", "No.")),
        ({"error": {"message": ["No."], "code": 5}}, ("", "")),
    ],
)
def test_errors(reply: dict[str, Any], expected: tuple[str, str]) -> None:
    facts = read(reply)
    assert (facts.error_type, facts.error_message) == expected


@pytest.mark.parametrize("key", ["sk-proj-abcdefgh12345678", "Bearer abc.def", "gsk_abcdefgh123", "AIzaSyabcdefgh"])
def test_keys_are_blanked_in_error_messages(key: str) -> None:
    assert read({"error": {"message": f"Incorrect API key provided: {key}"}}).error_message == (
        "Incorrect API key provided: …"
    )


def test_an_error_message_is_bounded() -> None:
    assert len(read({"error": {"message": "x" * 10_000}}).error_message) == MESSAGE_MAX


def test_a_large_embeddings_reply_is_read_from_its_end() -> None:
    vectors = b"[" + b"0.1," * 20_000 + b"0.1]"
    end = b'],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}'
    body = b'{"object":"list","data":[{"embedding":' + vectors + b"}" + end
    expected = Facts(Usage(input_tokens=8), response_model="e")
    assert unary_facts("embeddings", body) == expected
    # What the end alone does not tell is read whole; and only then a fault in the middle matters.
    reordered = b'{"model":"e","usage":{"prompt_tokens":8,"total_tokens":8},"data":[{"embedding":' + vectors + b"}]}"
    assert unary_facts("embeddings", reordered) == expected
    apart = b'{"usage":{"total_tokens":8},"data":[{"embedding":' + vectors + b'}],"model":"e"}'
    assert unary_facts("embeddings", apart) == expected
    assert unary_facts("embeddings", body.replace(b"0.1,", b"0.1;", 1)) == expected
    assert unary_facts("other", body.replace(b"0.1,", b"0.1;", 1)) == Facts()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CHAT, "error", "output"]), inner),
    max_leaves=10,
)


@given(st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()))
def test_never_raises(body: bytes) -> None:
    assert isinstance(unary_facts("chat", body), Facts)


@given(st.dictionaries(st.sampled_from([*CHAT, "error", "status", "incomplete_details", "output", "detail"]), JSON))
def test_a_decoded_reply_gives_the_same_facts(reply: dict[str, Any]) -> None:
    assert facts_of(json.loads(json.dumps(reply))) == unary_facts("chat", json.dumps(reply).encode())


VALID = st.integers(0, 50)
VALID_DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "x"]),
    VALID,
)
VALID_USAGES = st.fixed_dictionaries(
    {"prompt_tokens": VALID, "completion_tokens": VALID},
    optional={"prompt_tokens_details": VALID_DETAILS, "completion_tokens_details": VALID_DETAILS},
)
COUNTS = st.none() | st.integers(-1, 50) | st.sampled_from([10**12, 10**13, 1.0, "5", True])
DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "x"]),
    COUNTS,
)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": COUNTS,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "prompt_cache_hit_tokens": COUNTS,
        "reasoning_tokens": COUNTS,
    },
)
MESSAGES = st.sampled_from([{"role": "assistant"}, {}, None, "text"])
ORDINARY = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["chatcmpl-1", "x" * 999, None]),
        "model": st.sampled_from(["gpt-5", None]),
        "choices": st.lists(
            st.fixed_dictionaries(
                {"finish_reason": st.sampled_from(["stop", "", None, "length", 5]), "message": MESSAGES}
            ),
            max_size=2,
        ),
        "usage": USAGES,
    },
    optional={
        "service_tier": st.sampled_from(["default", None, 5]),
        "system_fingerprint": st.sampled_from(["fp", None]),
        "error": st.sampled_from([None, {"code": "bad", "message": "No."}]),
        "status": st.sampled_from([None, "completed"]),
        "detail": st.sampled_from([None, "No."]),
    },
)


@given(ORDINARY, st.booleans())
def test_the_quick_way_reads_what_the_patient_way_reads(reply: dict[str, Any], sums: bool) -> None:
    usage = reply["usage"]
    if sums and type(usage["prompt_tokens"]) is int and type(usage["completion_tokens"]) is int:
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    body = json.dumps(reply).encode()
    assert unary_facts("chat", body) == facts_of(json.loads(body)) == unary_facts("completions", body)


@given(VALID_USAGES, st.lists(st.sampled_from(["stop", "length", "tool_calls"]), min_size=1, max_size=3))
def test_the_quick_way_is_taken_for_ordinary_replies(usage: dict[str, Any], reasons: list[str]) -> None:
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    choices = [{"index": 0, "message": {"role": "assistant"}, "finish_reason": reason} for reason in reasons]
    body = json.dumps({"id": "chatcmpl-1", "model": "gpt-5", "choices": choices, "usage": usage}).encode()
    assert ordinary_facts(body) == facts_of(json.loads(body))


@given(st.lists(st.tuples(MESSAGES, st.sampled_from(["stop", "length", "error", "", None])), max_size=2), st.booleans())
def test_the_facts_of_a_whole_reply_are_those_of_any_and_others_have_none(
    choices: list[tuple[Any, Any]], sums: bool
) -> None:
    reply = {
        "id": "chatcmpl-1",
        "model": "gpt-5",
        "choices": [{"message": message, "finish_reason": reason} for message, reason in choices],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 if sums else 4},
    }
    body = json.dumps(reply).encode()
    assert whole_facts("chat", body) == (unary_facts("chat", body) if is_whole("chat", body) else None)
