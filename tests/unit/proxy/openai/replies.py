"""Whole replies to be told as streams: a few that hold everything, and a strategy for each endpoint."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

USAGE: dict[str, Any] = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
}
RESPONSE_USAGE: dict[str, Any] = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 21,
}
CITATION = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 4, "url": "http://a.example/", "title": "A"},
}
SENTENCE = "The gate meters the river; what it saves is told at the end of the day, in litres and in money. "


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.25, "bytes": list(text.encode("utf-8", "surrogatepass")), "top_logprobs": []}


def call(index: int, name: str = "weigh", arguments: str = '{"kilograms": 12}') -> dict[str, Any]:
    return {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


def message(content: str | None = SENTENCE, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "refusal": None, "annotations": [], **more}


def choice(index: int = 0, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {"index": index, "message": message(), "logprobs": None, "finish_reason": finish, **more}


def chat(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-x-2026-01-01",
        "choices": list(choices) or [choice()],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        **more,
    }


def completion(*texts: str, logprobs: Any = None) -> dict[str, Any]:
    choices = [
        {"index": index, "text": text, "logprobs": logprobs, "finish_reason": "length"}
        for index, text in enumerate(texts)
    ]
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "davinci-x"}
    return {**head, "choices": choices, "usage": USAGE}


def output_text(text: str = SENTENCE, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def output_message(*content: dict[str, Any], own: str = "msg_1", status: str = "completed") -> dict[str, Any]:
    parts = list(content) or [output_text()]
    return {"type": "message", "id": own, "role": "assistant", "status": status, "content": parts}


def reasoning(*summary: str, own: str = "rs_1", **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": own, "summary": [{"type": "summary_text", "text": t} for t in summary], **more}


def function_call(own: str = "fc_1", arguments: str = '{"kilograms": 12}') -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": own,
        "call_id": f"call_{own}",
        "name": "weigh",
        "arguments": arguments,
        "status": "completed",
    }


def custom_call(own: str = "ctc_1", text: str = "print(1 + 1)  # two") -> dict[str, Any]:
    return {"type": "custom_tool_call", "id": own, "call_id": f"call_{own}", "name": "run", "input": text}


def response(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_009,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-x-2026-01-01",
        "output": list(output) or [output_message()],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
        "usage": RESPONSE_USAGE,
        **more,
    }


texts = st.text(st.characters(codec="utf-8"), max_size=120) | st.sampled_from([SENTENCE * 3, "界" * 90, " \n" * 40, ""])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
tokens = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), max_size=20)


@st.composite
def tool_calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for index in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            made.append(call(index, arguments=draw(texts)))
        else:
            custom = {"name": draw(st.text(max_size=5)), "input": draw(texts)}
            made.append({"id": f"call_{index}", "type": "custom", "custom": custom})
    return made


@st.composite
def chat_choices(draw: st.DrawFn, index: int) -> dict[str, Any]:
    spelt = draw(tokens)
    content = draw(st.none() | texts | st.just("".join(spelt)))
    optional = {
        "refusal": st.none() | texts,
        "annotations": st.lists(st.just(CITATION), max_size=2),
        "tool_calls": tool_calls(),
        "function_call": st.none() | st.fixed_dictionaries({"name": st.text(max_size=5), "arguments": texts}),
        "audio": st.none()
        | st.fixed_dictionaries({"id": texts, "data": texts, "expires_at": st.integers(0, 9), "transcript": texts}),
        "reasoning_content": st.none() | texts,
        "reasoning_details": json_values,
        "of_another_server": json_values,
    }
    body = {"role": "assistant", "content": content, **draw(st.fixed_dictionaries({}, optional=optional))}
    lists = st.none() | st.just([token(t) for t in spelt])
    odds = draw(st.none() | st.fixed_dictionaries({"content": lists, "refusal": lists}))
    more = draw(st.fixed_dictionaries({}, optional={"stop_reason": json_values, "content_filter_results": json_values}))
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "function_call"]))
    return {"index": index, "message": body, "logprobs": odds, "finish_reason": finish, **more}


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    choices = [draw(chat_choices(index)) for index in range(draw(st.integers(1, 3)))]
    # Unknown to the endpoint: there, or not there. Of those a stream tells as little as of one that is null.
    known = json_values.filter(lambda value: value is not None)
    more = {"provider": texts, "citations": known, "moderation": known, "service_tier": st.none()}
    return chat(*choices, **draw(st.fixed_dictionaries({}, optional=more)))


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    reply = completion(*draw(st.lists(texts, min_size=1, max_size=3)))
    for one in reply["choices"]:
        spelt = draw(tokens)
        if draw(st.booleans()):
            one["text"] = "".join(spelt)
        odds = {
            "tokens": spelt,
            "token_logprobs": [-1.5] * len(spelt),
            "top_logprobs": draw(st.none() | st.just([{t: -1.0} for t in spelt])),
            "text_offset": list(range(len(spelt))),
        }
        one["logprobs"] = draw(st.none() | st.just(odds))
    return reply


@st.composite
def output_items(draw: st.DrawFn, index: int) -> dict[str, Any]:
    own = f"item_{index}"
    spelt = draw(tokens)
    parts = st.one_of(
        texts.map(output_text),
        st.just(output_text("".join(spelt), logprobs=[token(t) for t in spelt])),
        st.just(output_text("cited", annotations=[{"type": "file_path", "file_id": "f", "index": 0}])),
        texts.map(lambda text: {"type": "refusal", "refusal": text}),
    )
    thoughts = st.lists(texts.map(lambda text: {"type": "reasoning_text", "text": text}), max_size=2)
    items = st.one_of(
        st.lists(parts, max_size=3).map(lambda content: output_message(own=own) | {"content": content}),
        st.tuples(st.lists(texts, max_size=2), thoughts).map(lambda t: reasoning(*t[0], own=own, content=t[1])),
        texts.map(lambda text: function_call(own, text)),
        texts.map(lambda text: custom_call(own, text)),
        st.just({"type": "web_search_call", "id": own, "status": "completed", "action": {"type": "search"}}),
        json_values.map(lambda value: {"type": "of_another_server", "id": own, "value": value}),
    )
    return draw(items)


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    output = [draw(output_items(index)) for index in range(draw(st.integers(1, 4)))]
    status = draw(st.sampled_from(["completed", "incomplete"]))
    return response(*output, status=status)
