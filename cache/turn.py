"""The last turn of the user, apart from all that stands before and around it."""

from __future__ import annotations

from typing import Any, Final

Document = dict[str, Any]

TEXT_CHARS_MAX: Final = 1000
"""Of a turn that is compared by meaning: in a long text the one word that matters weighs next to nothing."""


def split(endpoint: str, document: Document) -> tuple[Document, str] | None:
    """The document with a hole where the user's last text was, and that text without surrounding space.

    None where likeness says nothing: embeddings and moderations (every letter counts), a last turn that is no text
    alone (pictures, files, the result of a tool), an empty one, and one over `TEXT_CHARS_MAX`.
    """
    if endpoint == "chat":
        return _of_list(document, "messages", ("text",))
    if endpoint == "responses":
        if isinstance(document.get("input"), list):
            return _of_list(document, "input", ("input_text",))
        return _of_field(document, "input")
    if endpoint == "completions":
        return _of_field(document, "prompt")
    return None


def _of_field(document: Document, name: str) -> tuple[Document, str] | None:
    text = _bounded(document.get(name))
    return ({**document, name: None}, text) if text else None


def _of_list(document: Document, name: str, types: tuple[str, ...]) -> tuple[Document, str] | None:
    turns = document.get(name)
    if not isinstance(turns, list) or not turns:
        return None
    last = turns[-1]
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    text = _bounded(_text(last.get("content"), types))
    return ({**document, name: [*turns[:-1], {**last, "content": None}]}, text) if text else None


def _text(content: Any, types: tuple[str, ...]) -> str | None:
    """The text of a message; None when anything in it is more than that."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in types or not isinstance(part.get("text"), str):
            return None
        if part.keys() > {"type", "text"}:
            return None
        texts.append(part["text"])
    return "\n".join(texts)


def _bounded(text: Any) -> str | None:
    if not isinstance(text, str) or len(text) > 2 * TEXT_CHARS_MAX:
        return None
    stripped = text.strip()
    return stripped if 0 < len(stripped) <= TEXT_CHARS_MAX else None
