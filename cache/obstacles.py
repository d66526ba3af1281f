"""Why a reply must not be kept although it is whole: it depends on state or time beyond the request, or leads there.

What is immutable under its id is no obstacle: `file_id` (an uploaded file is never changed in place) and a stored
prompt whose version is pinned. What an address leads to may change, so a picture behind `https:` is one, and a picture
in a `data:` URL is none. A date that the caller wrote into its own prompt is part of the key and needs no rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

Document = dict[str, Any]

_EVERYWHERE: Final = frozenset(
    {
        "web_search_options",  # OpenAI's chat search models
        "search_parameters",  # live search at xAI
        "plugins",  # web search at OpenRouter
        "data_sources",  # a search index beside the model at Azure
        "mcp_servers",
        "container",
        "deferred",  # the reply is only a ticket
    }
)
"""Top-level fields by which any of several providers looks something up while it answers."""

_SEARCHING: Final = re.compile(r"search|sonar|compound|deep-research|:online$", re.IGNORECASE)
"""Models that search the web by themselves: OpenAI's *-search-*, Perplexity's sonar, Groq's compound, `:online`."""


def of_chat(document: Document) -> str:
    if document.get("store") is True:
        return "store: the provider keeps the reply under its id"
    modalities = document.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        return "modalities: audio replies have ids that expire"
    messages = document.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            if "audio" in message and isinstance(audio := message["audio"], dict) and "id" in audio:
                return "messages: an audio id expires"
            if isinstance(content := message.get("content"), list) and _remote(content):
                return "messages: what is at a URL may change"
    return _of_generation(document)


def of_completions(document: Document) -> str:
    return _of_generation(document)


def of_responses(document: Document) -> str:
    if document.get("store") is not False:
        return "store: the provider keeps the response, unless it is false"
    for name in ("previous_response_id", "conversation"):
        if document.get(name) is not None:
            return f"{name}: earlier turns are with the provider"
    if document.get("background"):
        return "background: the reply is only a ticket"
    prompt = document.get("prompt")
    if prompt is not None and not (isinstance(prompt, dict) and prompt.get("version")):
        return "prompt: without a version it is whichever is current"
    variables = prompt.get("variables") if isinstance(prompt, dict) else None
    if isinstance(variables, dict) and _remote(list(variables.values())):
        return "prompt: what is at a URL may change"
    for item in _dicts(document.get("input")):
        if item.get("type") == "item_reference":
            return "input: an item_reference is kept by the provider"
        for name in ("content", "output"):
            if isinstance(parts := item.get(name), list) and _remote(parts):
                return "input: what is at a URL may change"
    return _of_generation(document)


def of_embeddings(document: Document) -> str:
    return ""


def of_moderations(document: Document) -> str:
    if isinstance(document.get("input"), list) and _remote(document["input"]):
        return "input: what is at a URL may change"
    return ""


OF: Final[dict[str, Callable[[Document], str]]] = {
    "chat": of_chat,
    "completions": of_completions,
    "responses": of_responses,
    "embeddings": of_embeddings,
    "moderations": of_moderations,
}


def _of_generation(document: Document) -> str:
    if not _EVERYWHERE.isdisjoint(document):
        for name in sorted(_EVERYWHERE & document.keys()):
            if document[name] not in (None, False):
                return f"{name}: the provider looks something up"
    if "tools" in document:
        for tool in _dicts(document["tools"]):
            if tool.get("type") not in ("function", "custom"):
                return "tools: one of them runs at the provider"
    model = document.get("model")
    if isinstance(model, str) and _looks_things_up(model):
        return "model: it searches the web"
    return ""


@lru_cache(1024)
def _looks_things_up(model: str) -> bool:
    return _SEARCHING.search(model) is not None


def _dicts(value: Any) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _remote(parts: list[Any]) -> bool:
    """Any of these content parts names something by an address: `image_url`, `file_url`, `video_url`, ..."""
    for part in _dicts(parts):
        for name, value in part.items():
            if name.endswith("_url"):
                address = value.get("url") if isinstance(value, dict) else value
                if isinstance(address, str) and address[:5].lower() != "data:":
                    return True
    return False
