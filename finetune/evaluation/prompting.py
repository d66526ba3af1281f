"""Who is asked, and behind what: a model as it is, or a model behind a prompt with examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..dataset import INSTRUCTIONS, Message
from ..errors import FinetuneError
from .examples import Example

FEW_SHOT: Final = "+few-shot"
"""What the name of a model behind a prompt with examples ends in."""


class Contestant(msgspec.Struct, frozen=True):
    """A model, and the messages that it is shown before each question."""

    model: str
    before: list[Message] = []

    def asked(self, example: Example) -> Example:
        """The example as this one is asked it. Instructions of its own take the place of the prompt's."""
        if not self.before:
            return example
        own, question = _parted(example.messages)
        theirs, turns = _parted(self.before)
        return msgspec.structs.replace(example, messages=[*(own or theirs), *turns, *question])


class _Prompt(msgspec.Struct):
    messages: list[Message]


def contestants(models: Sequence[str], few_shot: Sequence[str]) -> dict[str, Contestant]:
    """By name, the first one is the baseline: all `models`, then, for each `MODEL=FILE`, `MODEL+few-shot`.

    The files are those of `penstock finetune advise --few-shot`: `{"messages": [...]}`. Raises `FinetuneError`.
    """
    found = {model: Contestant(model) for model in models}
    for given in few_shot:
        model, _, path = given.partition("=")
        if not model or not path:
            raise FinetuneError(f"--few-shot {given}: say which model is shown which prompt, as MODEL=FILE.")
        name = model + FEW_SHOT
        if name in found:
            raise FinetuneError(f"--few-shot {given}: there is a {name} already.")
        found[name] = Contestant(model, _read(Path(path)))
    return found


def _read(path: Path) -> list[Message]:
    try:
        messages = msgspec.json.decode(path.read_bytes(), type=_Prompt).messages
    except OSError as error:
        raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FinetuneError(f'{path} is no prompt, which is {{"messages": [...]}}: {error}.') from error
    if not _parted(messages)[1] or not all(isinstance(message.get("role"), str) for message in messages):
        raise FinetuneError(f"{path} holds no examples. Make one: penstock finetune advise DATASET --few-shot {path}")
    return messages


def _parted(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """The instructions that they begin with, and the rest."""
    place = next((at for at, one in enumerate(messages) if one.get("role") not in INSTRUCTIONS), len(messages))
    return messages[:place], messages[place:]
