"""Which language a conversation is in, told by py3langid's model, which is part of the package and runs offline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from ..errors import DatasetError
from ..example import Message, text_of

LETTERS_MIN: Final = 40
"""Fewer letters tell nothing."""
CHARACTERS_MAX: Final = 1000
"""Of a conversation, that are looked at."""
CONFIDENCE_MIN: Final = 0.7
"""Of the model, in a language that was not asked for; below it the conversation passes."""

_code = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|[!-~]{40,}", re.DOTALL).sub
_not_letters = re.compile(r"[\W\d_]+").sub


@cache
def _identifier() -> Any:
    """Half a second and 110 MB of memory, once a process; nothing of it changes."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


class Languages:
    """Raises `DatasetError` for a code that the model does not know, and without py3langid."""

    def __init__(self, codes: Sequence[str]) -> None:
        """Codes of ISO 639-1; what follows a hyphen or underscore (`en-GB`) does not count."""
        try:
            self._identifier = _identifier()
        except ImportError as error:
            raise DatasetError("To choose by language, install the extra: pip install 'penstock[datasets]'") from error
        self._wanted = frozenset(re.split("[-_]", code.strip().lower())[0] for code in codes)
        unknown = sorted(self._wanted - set(self._identifier.labels))
        if unknown:
            known = " ".join(sorted(self._identifier.labels))
            raise DatasetError(f"No language is known as {', '.join(unknown)}. Known are: {known}")

    def accept(self, messages: Sequence[Message]) -> bool:
        """Whether what the user and the assistant said is in one of the languages, or is too little or too mixed to
        tell. Code, addresses and what is encoded (a key, a hash) do not count.
        """
        said = []
        left = CHARACTERS_MAX
        # From the end: the answer is what is learnt.
        for message in reversed(messages):
            if message.get("role") in ("user", "assistant") and left > 0:
                text = _code(" ", text_of(message)[: 2 * CHARACTERS_MAX])[:left]
                left -= len(text)
                said.append(text)
        text = "\n".join(reversed(said))
        if len(_not_letters("", text)) < LETTERS_MIN:
            return True
        language, confidence = self._identifier.classify(text)
        return language in self._wanted or confidence < CONFIDENCE_MIN
