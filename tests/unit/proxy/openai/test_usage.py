"""The usage objects of many servers, and what must never be taken for a count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.usage import TOKENS_MAX, Usage, counts_tokens, read_usage

SHAPES: list[tuple[str, dict[str, Any], Usage]] = [
    (
        "chat",
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {
                "cached_tokens": 60,
                "cache_write_tokens": 8,
                "audio_tokens": 3,
                "image_tokens": 4,
            },
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5, "accepted_prediction_tokens": 0},
        },
        Usage(100, 60, 8, 50, 20, 3, 5, 4),
    ),
    (
        "responses",
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 8},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 150,
        },
        Usage(100, 60, 8, 50, 20),
    ),
    ("embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(input_tokens=8)),
    ("only a total", {"total_tokens": 8}, Usage(input_tokens=8)),
    (
        "vLLM",
        {"prompt_tokens": 5, "total_tokens": 12, "completion_tokens": 7, "prompt_tokens_details": None},
        Usage(input_tokens=5, output_tokens=7),
    ),
    (
        "DeepSeek",
        {"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4},
        Usage(input_tokens=10, cached_tokens=6, output_tokens=2),
    ),
    (
        "Moonshot",
        {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 6},
        Usage(input_tokens=10, cached_tokens=6, output_tokens=2),
    ),
    (
        "Anthropic: the cached part is beside the input",
        {"input_tokens": 4, "output_tokens": 2, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 3},
        Usage(input_tokens=13, cached_tokens=6, cache_write_tokens=3, output_tokens=2),
    ),
    (
        "its imitators: inside, as prompt_tokens",
        {"prompt_tokens": 13, "completion_tokens": 2, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 3},
        Usage(input_tokens=13, cached_tokens=6, cache_write_tokens=3, output_tokens=2),
    ),
    (
        "its imitators: inside, as the total tells",
        {"input_tokens": 13, "output_tokens": 2, "total_tokens": 15, "cache_read_input_tokens": 6},
        Usage(input_tokens=13, cached_tokens=6, output_tokens=2),
    ),
    (
        "xAI: reasoning beside the output",
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        Usage(input_tokens=10, output_tokens=105, reasoning_tokens=100),
    ),
    (
        "images",
        {"input_tokens": 50, "output_tokens": 90, "total_tokens": 140, "input_tokens_details": {"image_tokens": 40}},
        Usage(input_tokens=50, output_tokens=90, input_image_tokens=40),
    ),
    (
        "transcriptions",
        {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "input_token_details": {"audio_tokens": 14}},
        Usage(input_tokens=14, output_tokens=45, input_audio_tokens=14),
    ),
    ("whole floats", {"prompt_tokens": 5.0, "completion_tokens": 7.0}, Usage(input_tokens=5, output_tokens=7)),
]


@pytest.mark.parametrize(("usage", "expected"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES])
def test_shape(usage: dict[str, Any], expected: Usage) -> None:
    assert read_usage(usage) == expected


@pytest.mark.parametrize(
    "usage",
    [None, [], "x", 3, {}, {"type": "duration", "seconds": 9}, {"prompt_tokens": -1}, {"prompt_tokens": True}],
)
def test_no_count_is_none(usage: Any) -> None:
    assert read_usage(usage) is None


@pytest.mark.parametrize(
    "wrong", [-1, TOKENS_MAX + 1, 10**30, 1.5, float("nan"), float("inf"), "5", None, [], {}, True]
)
def test_a_wrong_number_is_absent_and_the_others_stay(wrong: Any) -> None:
    usage = {
        "prompt_tokens": wrong,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": wrong},
        "completion_tokens_details": wrong,
    }
    assert read_usage(usage) == Usage(output_tokens=7)


NAMES = st.sampled_from(
    [name for _, usage, _ in SHAPES for name in usage] + ["cached_tokens", "reasoning_tokens", "image_tokens"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES))
def test_never_raises_and_never_gives_a_wrong_count(usage: dict[str, Any]) -> None:
    found = read_usage(usage)
    for count in found or ():
        assert count is None or (type(count) is int and 0 <= count <= 3 * TOKENS_MAX)


def test_reading_a_stored_reply_again_is_no_new_usage() -> None:
    assert counts_tokens("POST", "/v1/responses")
    assert counts_tokens("POST", "/v1/images/generations")
    assert not counts_tokens("GET", "/v1/responses/resp_1")
    assert not counts_tokens("POST", "/v1/responses/resp_1/cancel")
    assert not counts_tokens("POST", "/v1/batches")
