"""Lines that are put together from pieces are those that would have been encoded whole."""

from __future__ import annotations

import msgspec
import pytest

from exporters.datasets.example import Example
from exporters.datasets.provenance import Origin, excuse_line, pieces_of, pieces_of_left_out, source_line
from exporters.datasets.reasons import Reason

FULL = Example(
    request_id='r"\u00e9\n',
    timestamp_ns=-5,
    messages=[
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ],
    tools=[{"type": "function", "function": {"name": "f"}}],
    response_format={"type": "json_object"},
    model="m",
    upstream="u",
    prompt_name="p",
    prompt_version="2",
    user="0123456789abcdef",
    session="fedcba9876543210",
    tags={"b": "1", "a": '"'},
    score=0.1,
    label="\u00e9",
    tokens=7,
    tokens_estimated=True,
    output_tokens=0,
)
BARE = Example(request_id="", timestamp_ns=0, messages=[{"role": "assistant", "content": "c"}])


def origin(example: Example, **fields: object) -> Origin:
    return Origin(
        request_id=example.request_id,
        timestamp_ns=example.timestamp_ns,
        person=example.user,
        session=example.session,
        tokens=example.tokens,
        model=example.model,
        prompt=example.prompt_name,
        label=example.label,
        turns=sum(message["role"] == "user" for message in example.messages),
        tools=bool(example.tools),
        estimated=example.tokens_estimated,
        output_tokens=example.output_tokens,
        upstream=example.upstream,
        prompt_version=example.prompt_version,
        score=example.score,
        tags=example.tags,
        response_format=example.response_format,
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "example", [FULL, BARE, msgspec.structs.replace(FULL, user=""), msgspec.structs.replace(BARE, user="a")]
)
@pytest.mark.parametrize(("preference", "cluster"), [(0, ""), (3, ""), (0, "00ff"), (12, "00ff")])
def test_a_source_line_is_its_origin_as_json(example: Example, preference: int, cluster: str) -> None:
    whole = origin(example, split="validation", line=42, preference=preference, cluster=cluster)
    made = source_line(pieces_of(example), "validation", 42, preference, cluster)
    assert made == msgspec.json.encode(whole) + b"\n"


@pytest.mark.parametrize("cluster", ["", "00ff"])
def test_an_excuse_says_who_is_left_out_and_why(cluster: str) -> None:
    said = {"request_id": FULL.request_id, "reason": "user_cap"} | ({"cluster": cluster} if cluster else {})
    said |= {"person": FULL.user, "session": FULL.session}
    for row in (pieces_of(FULL), pieces_of_left_out(FULL)):
        assert excuse_line(row, Reason.USER_CAP, cluster) == msgspec.json.encode(said) + b"\n"
    assert excuse_line(pieces_of_left_out(BARE), Reason.PREFIX, "") == b'{"request_id":"","reason":"prefix"}\n'
