"""One call as a conversation, whatever its messages hold."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from exporters.console import terminal
from proxy.commands.show import print_call
from proxy.commands.store import Row

ROW: Row = {
    "request_id": "01a2065528ba7493a436048d23637bb2", "trace_id": "01a2065528ba7493a436048d23637bb2", "response_id": "",
    "model": "gpt-4.1", "response_model": "", "endpoint": "chat",
    "method": "POST", "path": "/v1/chat/completions", "stream": False, "status": 200, "outcome": "answered",
    "error_type": "", "error_message": "", "finish_reasons": [], "started": 1795000000.0, "duration_ms": 1240.0,
    "ttft_ms": None, "input_tokens": 10, "output_tokens": 5, "cached_tokens": None, "cache_write_tokens": None,
    "reasoning_tokens": None, "usage_source": "upstream", "cost": None, "cost_input": None, "cost_cached": None,
    "cost_cache_write": None, "cost_output": None, "savings": {}, "service_tier": "", "key_id": "", "user": "",
    "session": "", "prompt_name": "", "tags": {}, "upstream": "openai", "batch_id": "",
    "alias": "", "variant": "", "parameters": "", "input_messages": "", "output_messages": "",
    "system_instructions": "", "tool_definitions": "",
}  # fmt: skip


def _shown(**given: Any) -> str:
    file = io.StringIO()
    print_call(terminal(file), ROW | given, [])
    return file.getvalue()


def _message(role: str, *parts: dict[str, Any]) -> str:
    return json.dumps([{"role": role, "parts": list(parts)}])


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"type": "text", "content": "line 1\nline 2"}, "  line 1\n  line 2\n"),
        ({"type": "reasoning", "content": "hm"}, "  hm\n"),
        ({"type": "tool_call", "name": "f", "arguments": {"a": 1}}, '  → f({"a": 1})\n'),
        ({"type": "tool_call", "name": "f", "arguments": '{"a":'}, '  → f({"a":)\n'),
        ({"type": "tool_call_response", "response": "done"}, "  ← done\n"),
        ({"type": "uri", "modality": "image", "uri": "https://i"}, '  [uri] {"modality": "image", "uri": "https://i"}\n'),
    ],
)  # fmt: skip
def test_parts(part: dict[str, Any], text: str) -> None:
    assert _shown(input_messages=_message("user", part)).endswith(f"user\n{text}\n")


def test_a_line_of_a_batch_names_it() -> None:
    assert re.search(r"^batch +batch_1$", _shown(batch_id="batch_1"), re.MULTILINE)
    assert "batch" not in _shown()


def test_without_text_it_says_so() -> None:
    assert "The text of this call was not recorded." in _shown()


def test_what_is_not_known_is_said() -> None:
    assert "tokens    not known" in _shown(input_tokens=None, output_tokens=None)
    assert "no price is known" in _shown()


def test_a_call_that_failed_lacks_neither_tokens_nor_a_price() -> None:
    text = _shown(input_tokens=None, output_tokens=None, status=404, error_type="model_not_found")
    assert "tokens    -\ncost      -\n" in text


def test_a_failure_says_what_it_was() -> None:
    text = _shown(status=429, error_type="rate_limit_exceeded", error_message="Slow down", outcome="answered")
    assert "ended     429 answered  rate_limit_exceeded" in text
    assert "error     Slow down" in text


def test_a_status_is_not_said_twice() -> None:
    text = _shown(status=501, error_type="501", error_message="501", outcome="answered")
    assert "ended     501 answered  Not Implemented\ntime" in text


def test_long_text_is_wrapped_below_itself_on_a_terminal_and_whole_in_a_pipe() -> None:
    message = _message("user", {"type": "text", "content": "word " * 40 + "\n\nend"})
    file = io.StringIO()
    print_call(Console(file=file, force_terminal=True, width=60, no_color=True), ROW | {"input_messages": message}, [])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()
    told = lines[lines.index("user") + 1 :]
    assert len([text for text in told if text.startswith("  word")]) == 4
    assert max(map(len, lines)) <= 60
    assert _shown(input_messages=message).endswith("word\n\n  end\n\n")
    assert not [text for text in _shown(input_messages=message).splitlines() if text.endswith(" ")]


def test_a_picture_is_told_not_spelled() -> None:
    part = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "A" * 4000}
    assert "  [image, image/png, 4,000 characters of base64]\n" in _shown(input_messages=_message("user", part))


def test_a_call_without_a_model_is_told_by_its_path() -> None:
    assert "call      GET /v1/files\n" in _shown(model="", method="GET", path="/v1/files")


def test_the_cost_adds_up() -> None:
    text = _shown(cost=0.003, cost_input=0.001, cost_output=0.002, savings={"provider_cache": 0.5})
    assert "$0.003000  = input $0.001000 + output $0.002000  saved provider_cache $0.500000" in text


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text()
    | _json.map(json.dumps)
    | st.lists(st.fixed_dictionaries({"parts": _json | st.lists(_json)})).map(json.dumps)
)
def test_messages_of_any_shape_are_shown_and_obey_nobody(messages: str) -> None:
    assert "\x1b" not in _shown(output_messages=messages)
