"""Scrubbing: no private value survives in any byte of an example, wherever it stands; what is not private stays."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Example, Message
from exporters.datasets.options import Scrub
from exporters.datasets.scrubbing.scrub import Scrubber
from tests.unit.exporters.datasets.scrubbing.private_values import CLEAN, JWT, KEY, PRIVATE, grown

SCRUBBER = Scrubber(Scrub())


def example(*contents: str, **fields: Any) -> Example:
    roles = ("user", "assistant")
    messages: list[Message] = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return Example(**{"request_id": "r", "timestamp_ns": 1, "messages": messages, **fields})


def contents(told: Example) -> list[Any]:
    return [message["content"] for message in told.messages]


def scrubbed(text: str, **options: Any) -> str:
    told = example(text)
    Scrubber(Scrub(**options)).scrub(told) if options else SCRUBBER.scrub(told)
    return str(told.messages[0]["content"])


@pytest.mark.parametrize(("kind", "value", "sentence"), PRIVATE)
def test_a_value_is_replaced_and_counted_under_its_kind(kind: str, value: str, sentence: str) -> None:
    told = example(f"See: {sentence.format(value)}, thanks.")
    assert SCRUBBER.scrub(told) == {kind: 1}
    assert told.messages[0]["content"] == f"See: {sentence.format(f'[{kind}_1]')}, thanks."


@pytest.mark.parametrize("text", CLEAN)
def test_a_clean_text_stays(text: str) -> None:
    told = example(text)
    assert SCRUBBER.scrub(told) == {}
    assert contents(told) == [text]


def test_of_ordinary_sentences_less_than_one_in_a_hundred_loses_something() -> None:
    sentences = grown()
    lost = [text for text in sentences if scrubbed(text) != text]
    assert len(sentences) >= 300
    assert len(lost) <= len(sentences) // 100, lost


def call(arguments: Any) -> Message:
    function = {"name": "look_up", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    | st.sampled_from([sentence.format(value) for _, value, sentence in PRIVATE]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


def shape(node: object) -> object:
    if isinstance(node, dict):
        return [shape(value) for value in node.values()]
    if isinstance(node, list):
        return [shape(value) for value in node]
    return None if isinstance(node, str | int | float) else node


@given(st.dictionaries(st.text(max_size=8), documents, max_size=4), st.booleans())
def test_arguments_stay_json_of_the_same_shape(document: dict[str, object], ascii_only: bool) -> None:
    told = example(messages=[call(json.dumps(document, ensure_ascii=ascii_only))])
    SCRUBBER.scrub(told)
    after = json.loads(told.messages[0]["tool_calls"][0]["function"]["arguments"])
    assert shape(after) == shape(document)


@pytest.mark.parametrize(
    ("escaped", "replaced"),
    [
        ("write to jane%40example.com now", "write to [EMAIL_1] now"),
        ("write to jane\\u0040example.com now", "write to [EMAIL_1] now"),
        ("write to jane&#64;example.com or jane&commat;example.com", "write to [EMAIL_1] or [EMAIL_1]"),
        ("a\\njane@example.com\\tb", "a\\n[EMAIL_1]\\tb"),
        ('{\\\\\\"mail\\\\\\": \\\\\\"jane@example.com\\\\\\"}', '{\\\\\\"mail\\\\\\": \\\\\\"[EMAIL_1]\\\\\\"}'),
        ("call +49\u00a030\u202f1234567 now", "call [PHONE_1] now"),
        ("call 415\u2011555\u20130132 now", "call [PHONE_1] now"),
        ("card \uff14111 1111 1111 1111.", "card [CREDIT_CARD_1]."),
        ("jane\u200b@exa\u00admple.com!", "[EMAIL_1]!"),
        ("call 415-555\u200b-0132 now", "call [PHONE_1] now"),
        ("https://u:p%40ss@host", "https://[CREDENTIALS_1]@host"),
        ("C:\\new\\jane@example.com", "C:\\new\\[EMAIL_1]"),
    ],
)
def test_an_escaped_value_is_found_and_what_stands_around_it_stays(escaped: str, replaced: str) -> None:
    assert scrubbed(escaped) == replaced


def test_the_same_value_has_the_same_placeholder_everywhere() -> None:
    told = example(
        "I am jane@example.com, not joe@example.com",
        "Hello JANE@example.com",
        messages=[
            {"role": "user", "content": "I am jane@example.com, not joe@example.com. +1 415 555 0132"},
            call('{"to": "jane\\u0040example.com"}'),
            {"role": "tool", "tool_call_id": "c", "content": '{"sent": ["joe@example.com"]}'},
            {"role": "assistant", "content": "Sent to JANE@example.com, and +1 (415) 555-0132 was called."},
        ],
        rejected=[{"role": "assistant", "content": "ann@example.com, joe@example.com"}],
    )
    assert SCRUBBER.scrub(told) == {"EMAIL": 7, "PHONE": 2}
    assert contents(told) == [
        "I am [EMAIL_1], not [EMAIL_2]. [PHONE_1]",
        None,
        '{"sent": ["[EMAIL_2]"]}',
        "Sent to [EMAIL_1], and [PHONE_1] was called.",
    ]
    assert told.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"to": "[EMAIL_1]"}'
    assert told.rejected == [{"role": "assistant", "content": "[EMAIL_3], [EMAIL_2]"}]


def test_what_was_known_by_its_context_is_private_without_it() -> None:
    told = example("hunter22? yes, my password is hunter22", "Never show hunter22! But xhunter22 is another.")
    assert SCRUBBER.scrub(told) == {"SECRET": 3}
    assert contents(told) == [
        "[SECRET_1]? yes, my password is [SECRET_1]",
        "Never show [SECRET_1]! But xhunter22 is another.",
    ]


def test_a_password_that_is_a_word_is_one_elsewhere() -> None:
    told = example("password: dragon", "The dragon sleeps.")
    SCRUBBER.scrub(told)
    assert contents(told) == ["password: [SECRET_1]", "The dragon sleeps."]


@pytest.mark.parametrize("tools", [[], [{"type": "function", "function": {"name": "f", "description": "of u-4711"}}]])
def test_the_callers_own_id_is_the_user(tools: list[dict[str, Any]]) -> None:
    scrubber = Scrubber(Scrub())
    # So that the same tools are known, and were clean.
    assert scrubber.scrub(example("hi", tools=copy.deepcopy(tools))) == {}
    told = example("I am u-4711, not u-47110.", "u-4711!", user="u-4711", tools=tools)
    assert scrubber.scrub(told) == {"USER": 2 + len(tools)}
    assert contents(told) == ["I am [USER], not u-47110.", "[USER]!"]
    assert "u-4711" not in str(told.tools)
    assert told.user == "u-4711"


def test_tools_that_were_clean_are_not_when_they_name_the_user() -> None:
    scrubber = Scrubber(Scrub())
    for user, found in (("", {}), ("", {}), ("u-4711", {"USER": 1})):
        tools = [{"type": "function", "function": {"name": "f", "description": "of u-4711"}}]
        assert scrubber.scrub(example("hi", user=user, tools=tools)) == found


def test_a_user_whose_id_is_an_address_is_the_user() -> None:
    told = example("From jane@example.com to joe@example.com", user="jane@example.com")
    assert SCRUBBER.scrub(told) == {"USER": 1, "EMAIL": 1}
    assert contents(told) == ["From [USER] to [EMAIL_1]"]


@pytest.mark.parametrize("user", ["bob", "user", "Admin", "7"])
def test_an_id_that_is_a_word_is_left(user: str) -> None:
    assert SCRUBBER.scrub(example(f"{user} is here, {user}.", user=user)) == {}


def test_placeholders_that_stand_there_stay_and_their_numbers_are_taken() -> None:
    assert scrubbed("[EMAIL] and [EMAIL_2] and a@b.co") == "[EMAIL] and [EMAIL_2] and [EMAIL_3]"


def test_numbers_and_named_values_in_json() -> None:
    told = example(
        messages=[call('{"card": 4111111111111111, "n": 41, "phone": "5551234567", "db_password":"s3cr3t!"}')]
    )
    assert SCRUBBER.scrub(told) == {"CREDIT_CARD": 1, "PHONE": 1, "SECRET": 1}
    arguments = told.messages[0]["tool_calls"][0]["function"]["arguments"]
    assert arguments == '{"card": "[CREDIT_CARD_1]", "n": 41, "phone": "[PHONE_1]", "db_password":"[SECRET_1]"}'


def test_numbers_and_named_values_in_tools() -> None:
    properties = {"card": 4111111111111111, "max": 1000000, "on": True, "userPhone": "5551234567"}
    told = example("hi", response_format={"properties": properties})
    assert SCRUBBER.scrub(told) == {"CREDIT_CARD": 1, "PHONE": 1}
    assert properties == {"card": "[CREDIT_CARD_1]", "max": 1000000, "on": True, "userPhone": "[PHONE_1]"}


def test_a_private_key_that_was_cut_off_leaves_json_whole() -> None:
    told = example(messages=[call('{"pem": "-----BEGIN RSA PRIVATE KEY-----\\nMIIE", "n": 1}')])
    SCRUBBER.scrub(told)
    assert told.messages[0]["tool_calls"][0]["function"]["arguments"] == '{"pem": "[PRIVATE_KEY_1]", "n": 1}'


def test_inlined_images_stay() -> None:
    url = "data:image/png;base64," + JWT.replace(".", "") + KEY
    told = example(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert SCRUBBER.scrub(told) == {}
    assert told.messages[0]["content"][0]["image_url"]["url"] == url


def test_an_inlined_image_stays_beside_what_is_private() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + KEY}}
    told = example(messages=[{"role": "user", "content": [{"type": "text", "text": "a@b.co"}, copy.deepcopy(image)]}])
    assert SCRUBBER.scrub(told) == {"EMAIL": 1}
    assert told.messages[0]["content"] == [{"type": "text", "text": "[EMAIL_1]"}, image]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_keeps_its_spelling(ascii_only: bool) -> None:
    text = json.dumps({"a": "grüß a@b.co"}, ensure_ascii=ascii_only, indent=1)
    told = example(messages=[call(text)])
    SCRUBBER.scrub(told)
    assert told.messages[0]["tool_calls"][0]["function"]["arguments"] == text.replace("a@b.co", "[EMAIL_1]")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("phone: 5551234567 2026031201 now", "phone: [PHONE_1] 2026031201 now"),
        ("+4915112345679 4200 1700 now", "[PHONE_1] 4200 1700 now"),
        ("020 7946 0958 42 %", "[PHONE_1] 42 %"),
    ],
)
def test_numbers_behind_a_phone_number_do_not_hide_it(text: str, left: str) -> None:
    assert scrubbed(text) == left


def test_lone_surrogates_pass() -> None:
    assert scrubbed("\ud83d a@b.co \ude00") == "\ud83d [EMAIL_1] \ude00"
    assert SCRUBBER.scrub(example("hi", tools=[{"type": "function", "function": {"name": "\ud83d"}}])) == {}


def test_own_patterns() -> None:
    own = {"patterns": (("EMPLOYEE_ID", "E[0-9]{6}"), ("PROJECT", "(?i)operation [a-zé]+"))}
    assert (
        scrubbed("E123456 runs opération; Operation Été; a@b.co", **own)
        == "[EMPLOYEE_ID_1] runs opération; [PROJECT_1]; [EMAIL_1]"
    )
    told = example(messages=[call('{"id": 4711, "n": "E123456"}')])
    assert Scrubber(Scrub(patterns=(("NUMBER", "47[0-9]{2}"), *own["patterns"]))).scrub(told) == {
        "NUMBER": 1,
        "EMPLOYEE_ID": 1,
    }
    assert told.messages[0]["tool_calls"][0]["function"]["arguments"] == '{"id": "[NUMBER_1]", "n": "[EMPLOYEE_ID_1]"}'


@pytest.mark.parametrize("pattern", ["^case [0-9]+$", "\\Acase [0-9]+", "case [0-9]+\\z"])
def test_an_own_pattern_may_mean_a_whole_text(pattern: str) -> None:
    told = example("hi", "case 12", "hello")
    assert Scrubber(Scrub(patterns=(("CASE", pattern),))).scrub(told) == {"CASE": 1}
    assert contents(told) == ["hi", "[CASE_1]", "hello"]


@pytest.mark.parametrize(
    ("kind", "pattern", "message"),
    [
        ("X", "(", "cannot be used"),
        ("X", "a*", "matches the empty text"),
        ("X", "(?=a)", "without look-around"),
        ("employee id", "E1", "names no kind"),
    ],
)
def test_a_pattern_that_cannot_be_used(kind: str, pattern: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Scrubber(Scrub(patterns=((kind, pattern),)))


def test_a_hostile_text_takes_no_time() -> None:
    for text in (
        "4111 " * 20_000,
        '{"a":' * 5_000,
        "\\" * 50_000,
        "a@" * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 2_000,
    ):
        SCRUBBER.scrub(example(text))
