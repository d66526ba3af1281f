"""What is asked and what should have been answered: the lines of one split."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from ..dataset import Conversation, Dataset, Message, Split
from ..errors import FinetuneError

SOURCES: Final = "sources.jsonl"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation up to its last answer, and that answer."""

    id: str
    """`test:17`, the line of the split's file."""
    call: str = ""
    """The id of the call that it was made of, when the dataset says."""
    messages: list[Message]
    reference: Message
    tools: list[dict[str, Any]] = []
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """Of the reference; "" when it says nothing."""
        return text_of(self.reference)


class _Origin(msgspec.Struct, kw_only=True):
    split: str = ""
    line: int = 0
    request_id: str = ""
    response_format: dict[str, Any] | None = None


def read(dataset: Dataset, split: Split, *, limit: int | None = None, seed: int = 0) -> list[Example]:
    """The examples of `split` in the order of the file; with `limit` so many, chosen by a hash, so that a larger limit
    only adds. Raises `FinetuneError`: there are none, or a line is no example.
    """
    path = dataset.path(split)
    if path.is_file():
        dataset.verify(path)
    origins = _origins(dataset, split)
    found = []
    for line, conversation in enumerate(dataset.conversations(split), 1):
        found.append(_example(split, line, conversation, origins.get(line, _Origin())))
    if not found:
        raise FinetuneError(f"{dataset.folder} has no examples in {split}: take another --split, or build it larger.")
    if limit is None or limit >= len(found):
        return found
    chosen = {one.id for one in sorted(found, key=lambda one: _order(one.id, seed))[:limit]}
    return [one for one in found if one.id in chosen]


def text_of(message: Message) -> str:
    """What a message says, the text of its parts joined; "" for none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _order(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()


def _example(split: str, line: int, conversation: Conversation, origin: _Origin) -> Example:
    messages = conversation.messages
    if len(messages) < 2 or messages[-1].get("role") != "assistant":
        raise FinetuneError(f"{split}.jsonl:{line} does not end with an answer to something.")
    return Example(
        id=f"{split}:{line}",
        call=origin.request_id,
        messages=[{name: value for name, value in one.items() if name != "weight"} for one in messages[:-1]],
        reference=messages[-1],
        tools=conversation.tools,
        parallel_tool_calls=conversation.parallel_tool_calls,
        response_format=origin.response_format,
    )


def _origins(dataset: Dataset, split: Split) -> dict[int, _Origin]:
    """By line of the split; none where the dataset was made elsewhere. Raises `FinetuneError` when it is damaged."""
    path = dataset.folder / SOURCES
    if not path.is_file():
        return {}
    decoder = msgspec.json.Decoder(_Origin)
    with path.open("rb") as file:
        try:
            found = [decoder.decode(line) for line in file]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{path} is damaged: {error}. Make it again: penstock dataset rebuild") from error
    return {one.line: one for one in found if one.split == split}
