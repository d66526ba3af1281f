"""What a job is asked for with: the fields of OpenAI's API, for those who know them all and those who know the old."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from openai.types.fine_tuning import FineTuningJob

from ..run import Objective
from .provider import Provider, Refused

METADATA_RUN: Final = "penstock_run"
METADATA_KEY: Final = "penstock_key"
_UNPROCESSABLE: Final = frozenset({400, 422})


def body(
    arguments: Mapping[str, Any], objective: Objective, training: str, validation: str, metadata: Mapping[str, str]
) -> dict[str, Any]:
    """Of the request. For supervised training the hyperparameters are in it twice: where they are since `method` came,
    and where servers look that do not know it."""
    names = ["n_epochs", "batch_size", "learning_rate_multiplier", *(["beta"] if objective == "dpo" else [])]
    asked = {name: arguments[name] for name in names if arguments.get(name) is not None}
    kind = "dpo" if objective == "dpo" else "supervised"
    found: dict[str, Any] = {
        "model": arguments["model"],
        "training_file": training,
        "method": {"type": kind, kind: {"hyperparameters": asked}} if asked else {"type": kind},
        "metadata": dict(metadata),
    }
    if asked and objective == "sft":
        found["hyperparameters"] = asked
    if validation:
        found["validation_file"] = validation
    found |= {name: arguments[name] for name in ("suffix", "seed") if arguments.get(name) not in (None, "")}
    if arguments.get("wandb_project"):
        wandb = {"project": arguments["wandb_project"], "tags": ["penstock"]}
        wandb |= {name: arguments[f"wandb_{name}"] for name in ("entity", "name") if arguments.get(f"wandb_{name}")}
        found["integrations"] = [{"type": "wandb", "wandb": wandb}]
    return found


def create(provider: Provider, asked: dict[str, Any], note: Callable[[str], None]) -> FineTuningJob:
    """A new job. A field that the provider refuses is left out when the others say the same. Raises as `Provider`."""
    wanted = dict(asked)
    while True:
        try:
            job = provider.create(wanted)
        except Refused as refused:
            name = _spare(wanted, refused)
            if not name:
                raise
            del wanted[name]
        else:
            for line in _otherwise(asked, job):
                note(line)
            return job


def _spare(wanted: Mapping[str, Any], refused: Refused) -> str:
    """The name of a field that is complained of and can be done without; "" when there is none."""
    if refused.status not in _UNPROCESSABLE:
        return ""
    about = refused.about
    if "hyperparameters" in wanted and "hyperparameters" in about and "method" in wanted:
        return "hyperparameters"
    supervised = wanted.get("method", {}).get("type") == "supervised"
    if "method" in wanted and "method" in about and supervised and asks_nothing_else(wanted):
        return "method"
    return "metadata" if "metadata" in wanted and "metadata" in about else ""


def asks_nothing_else(wanted: Mapping[str, Any]) -> bool:
    """Whether `method` says no more than the old fields do, or than a server does by itself."""
    inner = wanted["method"].get("supervised")
    return inner is None or "hyperparameters" in wanted


def _otherwise(asked: Mapping[str, Any], job: FineTuningJob) -> list[str]:
    """What the provider took instead of what it was asked for, in lines."""
    kind = asked["method"]["type"]
    wanted = asked["method"].get(kind, {}).get("hyperparameters", {})
    of_method = getattr(getattr(job.method, kind, None), "hyperparameters", None)
    lines = []
    for name, value in wanted.items():
        told = [getattr(one, name, None) for one in (of_method, job.hyperparameters)]
        numbers = [one for one in told if isinstance(one, int | float)]
        if numbers and value not in numbers:
            lines.append(f"The provider took {name} {numbers[0]:g} instead of {value:g}.")
    return lines
