"""What a training run is made with. The same options make the same run; they are in its `run.json`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ..errors import FinetuneError

Mask = Literal["", "assistant", "last", "all"]
TRACKERS: Final = ("jsonl", "tensorboard", "wandb")
SCHEDULES: Final = ("linear", "cosine", "constant", "constant_with_warmup")
LEARNING_RATES: Final = {"sft": 2e-4, "dpo": 1e-5}
"""Where none is given: an adapter bears ten times what all weights do."""
CHANGEABLE: Final = frozenset({"batch_size", "gradient_checkpointing", "track", "merge", "gguf"})
"""What may differ when a run is gone on with: it makes the same adapter, with less memory, or more files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """Raises `FinetuneError` when they do not go together."""

    dataset: str
    """The folder."""
    base: str
    """A folder as transformers saves it, a GGUF, or the name of a model on the hub."""
    run: str = ""
    """Its name; "": the dataset's with `-lora`, `-qlora` or `-dpo`."""
    chat_template: str = ""
    """A file with a template (Jinja) in place of the base's own."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ("all-linear",)
    """Names of modules, or all linear ones but the output."""
    rslora: bool = False
    dora: bool = False
    qlora: bool = False
    """The base in 4 bits: nf4, with double quantisation."""

    dpo: bool = False
    """Learn from pairs of answers in place of answers."""
    beta: float = 0.1
    """Of DPO: how far from the base it may go; less is farther."""

    mask: Mask = ""
    """Which turns are learnt; "": what the dataset says."""
    max_length: int = 2048
    """Tokens of an example."""
    too_long: Literal["cut", "drop"] = "cut"
    packing: bool = False
    group_by_length: bool = False
    validation_examples: int = 500
    """At most so many are validated on, spread over the split."""

    epochs: float = 3.0
    max_steps: int = 0
    """In place of epochs, if not 0."""
    batch_size: int = 4
    """Examples at a time on each device."""
    accumulation: int = 4
    """Batches in a step."""
    learning_rate: float = 0.0
    """0: what suits the objective."""
    schedule: str = "cosine"
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.0
    patience: int = 0
    """End after so many validations without a better loss; 0: never."""
    seed: int = 0

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    save_steps: int = 0
    """Steps between checkpoints, each with a validation; 0: a tenth of the run, 500 at most."""
    log_steps: int = 1
    keep_checkpoints: int = 2

    track: tuple[str, ...] = ("jsonl",)
    merge: bool = False
    gguf: bool = False

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) < math.inf:  # nor is NaN a number
                raise FinetuneError(f"{flag(name)} must be at least {least}, not {getattr(self, name)}.")
        for name, (low, high) in _WITHIN.items():
            if not low <= getattr(self, name) <= high:
                raise FinetuneError(f"{flag(name)} must be from {low} to {high}, not {getattr(self, name)}.")
        if not 0 < self.epochs < math.inf and not self.max_steps:
            raise FinetuneError("--epochs must be more than 0, or --max-steps given.")
        for name, known in (("track", TRACKERS), ("schedule", SCHEDULES)):
            given = getattr(self, name)
            for word in (given,) if isinstance(given, str) else given:
                if word not in known:
                    raise FinetuneError(f"{flag(name)} {word} is none of {', '.join(known)}.")
        if not self.targets:
            raise FinetuneError("--targets names nothing. all-linear takes every linear layer but the output.")
        if self.packing and (self.dpo or self.group_by_length):
            other = "--dpo" if self.dpo else "--group-by-length"
            raise FinetuneError(f"--packing and {other} do not go together. Leave one of them out.")
        if self.dora and self.gguf:
            raise FinetuneError(
                "llama.cpp has no adapters with DoRA: --dora and --gguf do not go together. Leave one out."
            )

    @property
    def objective(self) -> Literal["sft", "dpo"]:
        return "dpo" if self.dpo else "sft"

    @property
    def rate(self) -> float:
        """The learning rate that is meant."""
        return self.learning_rate or LEARNING_RATES[self.objective]

    def named(self, dataset: str) -> str:
        """The name of the run."""
        return self.run or f"{dataset}-{'dpo' if self.dpo else 'qlora' if self.qlora else 'lora'}"

    def asdict(self) -> dict[str, Any]:
        """As `run.json` keeps them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> LoraOptions:
        """Those of a run. Raises `FinetuneError` when another version wrote them."""
        try:
            return msgspec.convert(arguments, cls)
        except msgspec.ValidationError as error:
            raise FinetuneError(f"The run was made with options that are not known here: {error}.") from error

    def changed(self, **given: Any) -> LoraOptions:
        """These with others, as far as that leaves the run the same. Raises `FinetuneError`.

        A smaller batch takes more of them for a step, so that the steps stay what they were.
        """
        for name in given:
            if name not in CHANGEABLE:
                raise FinetuneError(
                    f"{flag(name)} is part of the run and cannot be changed when it is gone on with. Begin a new one."
                )
        if (size := given.get("batch_size")) is not None:
            examples = self.batch_size * self.accumulation
            if size < 1 or examples % size:
                raise FinetuneError(f"A step has {examples} examples: --batch-size must divide it, {size} does not.")
            given["accumulation"] = examples // size
        return dataclasses.replace(self, **given)


_LEAST: Final = {
    **dict.fromkeys(("rank", "batch_size", "accumulation", "log_steps", "keep_checkpoints"), 1),
    **dict.fromkeys(("max_steps", "patience", "seed", "save_steps", "learning_rate", "weight_decay"), 0),
    **dict.fromkeys(("validation_examples",), 0),
    "max_length": 8,
}
_WITHIN: Final = {"dropout": (0.0, 0.9), "warmup": (0.0, 1.0), "alpha": (0.001, 1e6), "beta": (0.0001, 100.0)}


def flag(name: str) -> str:
    """What an option is called on the command line."""
    return f"--{name.replace('_', '-')}"
