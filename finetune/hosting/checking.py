"""A training file against OpenAI's published rules, before anything of it is sent.

The rules whose breach has the file refused (OpenAI's guides to supervised and direct preference fine-tuning, its Files
API): size, number of examples, shape, roles, weights, the answer at the end, tokens of an example. The whole list, of
every line and with what makes worse models, is `penstock dataset validate`; here the first breach is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import FinetuneError
from ..run import Objective

EXAMPLES_MIN: Final = 10
FILE_BYTES_MAX: Final = 512_000_000
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
EXAMPLE_TOKENS_MAX: Final = 65_536
"""Of the models that OpenAI trains; others have limits of their own, which their providers know."""
PER_MESSAGE: Final = 3
"""Tokens around each message (OpenAI cookbook, "How to count tokens with tiktoken")."""

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_ALONE: Final = ("tool_calls", "function_call", "refusal")
"""Fields with which a message needs no content."""

Count = Callable[[str], int]
"""Tokens of a text."""


class Checked(msgspec.Struct, kw_only=True):
    """A file that may be sent."""

    path: str
    """Absolute."""
    sha256: str
    bytes: int
    examples: int
    tokens: int
    tokens_max: int
    """Of the longest example."""


def check(
    path: Path,
    objective: Objective,
    count: Count,
    *,
    examples_min: int = EXAMPLES_MIN,
    tokens_max: int | None = EXAMPLE_TOKENS_MAX,
    shown: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Raises `FinetuneError` with the first line that breaks a rule. `shown` is told the bytes read and their total."""
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise _wrong(path, 0, f"it has {size:,} bytes, and {FILE_BYTES_MAX:,} are the most")
        found = Checked(path=str(path.absolute()), sha256="", bytes=size, examples=0, tokens=0, tokens_max=0)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            done = 0
            for number, line in enumerate(_lines(file, path), 1):
                digest.update(line)
                tokens = _tokens(_example(path, number, line, objective), objective, count)
                if tokens_max is not None and tokens > tokens_max:
                    raise _wrong(path, number, f"it has about {tokens:,} tokens, and {tokens_max:,} are the most")
                found.examples += 1
                found.tokens += tokens
                found.tokens_max = max(found.tokens_max, tokens)
                done += len(line)
                shown(done, size)
    except OSError as error:
        raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
    if found.examples < examples_min:
        raise _wrong(path, 0, f"it has {found.examples} examples, and {examples_min} are the least")
    found.sha256 = digest.hexdigest()
    return found


def _lines(file: Any, path: Path) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise _wrong(path, number, f"it is longer than {LINE_BYTES_MAX:,} bytes")
        yield line


def _wrong(path: Path, number: int, what: str) -> FinetuneError:
    at = f"{path}:{number}" if number else f"{path}"
    return FinetuneError(f"{at}: {what}. All that is wrong with it: penstock dataset validate {path}")


def _example(path: Path, number: int, line: bytes, objective: Objective) -> dict[str, Any]:
    try:
        example = msgspec.json.decode(line.decode())
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise _wrong(path, number, "it is not JSON") from error
    if not isinstance(example, dict):
        raise _wrong(path, number, "it is not an object")
    wrong = _wrong_sft(example) if objective == "sft" else _wrong_dpo(example)
    if wrong:
        raise _wrong(path, number, wrong)
    return example


def _wrong_sft(example: dict[str, Any]) -> str:
    if "messages" not in example:
        return "it has no messages" + ("; --dpo trains on preferences" if "preferred_output" in example else "")
    wrong = _wrong_messages(example["messages"], "messages") or _wrong_tools(example)
    if wrong:
        return wrong
    messages = example["messages"]
    if messages[-1]["role"] != "assistant":
        return "the last message is not the assistant's"
    weights = [message.get("weight", 1) for message in messages if message["role"] == "assistant"]
    return "" if any(weights) else "all answers have weight 0, so there is nothing to learn"


def _wrong_dpo(example: dict[str, Any]) -> str:
    asked = example.get("input")
    if not isinstance(asked, dict):
        return "it has no input" + ("; without --dpo it is trained on as it is" if "messages" in example else "")
    wrong = _wrong_messages(asked.get("messages"), "input.messages") or _wrong_tools(asked)
    if wrong:
        return wrong
    if asked["messages"][-1]["role"] == "assistant":
        return "input.messages ends with an answer"
    for name in ("preferred_output", "non_preferred_output"):
        output = example.get(name)
        wrong = _wrong_messages(output, name)
        if wrong or not isinstance(output, list) or len(output) != 1 or output[0]["role"] != "assistant":
            return wrong or f"{name} is not one message of the assistant"
    if example["preferred_output"] == example["non_preferred_output"]:
        return "both outputs are the same, so there is nothing to prefer"
    return ""


def _wrong_messages(messages: object, where: str) -> str:
    if not isinstance(messages, list) or not messages:
        return f"{where} is not a list of messages"
    for number, message in enumerate(messages):
        at = f"{where}[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in _ROLES:
            return f"{at} has no role of system, developer, user, assistant or tool"
        content = message.get("content")
        if content is None and role != "function" and not any(message.get(name) for name in _ALONE):
            return f"{at} has no content"
        if content is not None and not isinstance(content, str | list):
            return f"{at}.content is neither a text nor a list of parts"
        if "weight" in message:
            if role != "assistant":
                return f"{at} has a weight, which only the assistant's messages may have"
            if isinstance(message["weight"], bool) or message["weight"] not in (0, 1):
                return f"{at}.weight is neither 0 nor 1"
    return ""


def _wrong_tools(holder: dict[str, Any]) -> str:
    tools = holder.get("tools")
    if tools is None:
        return ""
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        return "tools is not a list of functions"
    named = all(isinstance(tool.get("function"), dict) and tool["function"].get("name") for tool in tools)
    return "" if named else "a tool is no function with a name"


def _tokens(example: dict[str, Any], objective: Objective, count: Count) -> int:
    """About: text and tools; images are left out."""
    asked = example if objective == "sft" else example["input"]
    messages = [*asked["messages"], *example.get("preferred_output", []), *example.get("non_preferred_output", [])]
    texts = [text for message in messages for text in _texts(message)]
    tools = asked.get("tools")
    if tools:
        texts.append(msgspec.json.encode(tools).decode())
    return sum(count(text) for text in texts) + PER_MESSAGE * len(messages)


def _texts(message: dict[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
    for name in _ALONE:
        if message.get(name):
            yield msgspec.json.encode(message[name]).decode()
