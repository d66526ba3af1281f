"""`README.md` of a run: a model card as the Hugging Face Hub reads it, made of `run.json` and `evaluation.json` alone.

It says what was done and measured and nothing else. Source of the front matter: huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from .errors import FinetuneError
from .markdown import code, fenced, shell, table
from .run import Run, RunFile

_METHODS: Final = {
    "lora": "A LoRA adapter",
    "qlora": "A LoRA adapter, trained over weights in 4 bits (QLoRA),",
    "hosted": "A model that a provider trained: a copy",
}
_OBJECTIVES: Final = {"sft": "supervised fine-tuning", "dpo": "direct preference optimization"}
_NOT_METRICS: Final = frozenset({"latency_s", "cost_usd", "tokens", "errors", "cut", "without"})
"""Of a model in `evaluation.json`: what is shown beside the metrics, or not at all."""

_hub_name = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*").fullmatch
_plain_name = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?").fullmatch


def card(run: RunFile, evaluation: Mapping[str, Any] | None = None) -> str:
    """The whole text, the same for the same files. Paths of this machine are shortened to their last part."""
    sections = [
        _front_matter(run),
        _what(run),
        _data(run),
        _how(run),
        _results(run),
        _evaluated(run, evaluation) if evaluation else iter(()),
        _use(run),
        _pruned(run),
        _limits(run, evaluation),
    ]
    return "\n\n".join(text for lines in sections if (text := "\n".join(lines).strip("\n"))) + "\n"


def write_card(run: Run) -> None:
    """Write it into the run's folder, with its evaluation when there is one. Raises `FinetuneError`."""
    evaluation = None
    try:
        if run.evaluation.exists():
            evaluation = msgspec.json.decode(run.evaluation.read_bytes(), type=dict[str, Any])
        run.card.write_text(card(run.file, evaluation))
    except msgspec.DecodeError as error:
        raise FinetuneError(
            f"{run.evaluation} is damaged. Make it again: penstock evaluate --run {run.name}"
        ) from error
    except OSError as error:
        raise FinetuneError(f"{error.filename or run.card} cannot be read or written: {error.strerror}.") from error


def _front_matter(run: RunFile) -> Iterator[str]:
    yield "---"
    if _is_on_hub(run):
        yield f"base_model: {run.base}"
    if run.method != "hosted":
        yield "library_name: peft"
    yield "pipeline_tag: text-generation"
    yield "tags:"
    for tag in ("penstock", *(("base_model:adapter",) if run.method != "hosted" else ()), run.method, run.objective):
        yield f"- {tag}"
    if _plain_name(run.dataset.name):
        yield "datasets:"
        yield f"- {run.dataset.name}"
    yield "---"


def _is_on_hub(run: RunFile) -> bool:
    return run.method != "hosted" and _hub_name(run.base) is not None


def _base(run: RunFile) -> str:
    return run.base if _is_on_hub(run) or run.method == "hosted" else PurePath(run.base).name


def _what(run: RunFile) -> Iterator[str]:
    yield f"# {run.name}"
    yield ""
    yield (
        f"{_METHODS[run.method]} of {code(_base(run))}, trained on the dataset {code(run.dataset.name)} by "
        f"{_OBJECTIVES[run.objective]}."
    )
    if run.state != "finished":
        why = f" {run.error}" if run.error else ""
        yield ""
        yield f"> **Note:** the run is not finished, it is {run.state}.{why}"
    elif run.method != "hosted":
        yield ""
        yield "![Loss by step](loss.png)"


def _data(run: RunFile) -> Iterator[str]:
    yield "## What it was trained on"
    yield ""
    yield from table(("split", "examples"), [(name, f"{count:,}") for name, count in run.dataset.examples.items()])
    yield ""
    yield f"SHA-256 of the dataset's manifest, which names every file of it with its own: `{run.dataset.sha256}`."


def _how(run: RunFile) -> Iterator[str]:
    yield "## How it was trained"
    yield ""
    rows = [
        ("began, ended", " to ".join(time for time in (run.began, run.ended) if time)),
        ("steps", f"{run.steps:,}" if run.steps else ""),
        ("device, precision", ", ".join(word for word in (run.device, run.dtype) if word)),
        ("parameters", _parameters(run)),
        ("tokens a second", f"{run.tokens_per_second:,.0f}" if run.tokens_per_second else ""),
        ("memory at most", f"{run.memory_bytes_peak / 1e9:,.1f} GB" if run.memory_bytes_peak else ""),
        ("seed", str(run.seed)),
        ("commit", code(run.git_commit) if run.git_commit else ""),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))),
        ("model", code(run.model) if run.model else ""),
    ]
    yield from table(("", ""), [(name, said) for name, said in rows if said])
    yield ""
    yield "With these arguments, defaults included:"
    yield ""
    shown = [(code(name), code(_argument(value))) for name, value in sorted(run.arguments.items())]
    yield from table(("argument", "value"), shown)
    if run.git_commit.endswith("-dirty"):
        yield ""
        yield "The work tree had changes that are in no commit."


def _parameters(run: RunFile) -> str:
    if not run.parameters:
        return ""
    share = run.trainable_parameters / run.parameters
    return f"{run.parameters:,}, of which {run.trainable_parameters:,} ({share:.2%}) were trained"


def _argument(value: Any) -> str:
    if isinstance(value, str):
        return PurePath(value).name if value.startswith("/") else value or '""'
    return json.dumps(value)


def _results(run: RunFile) -> Iterator[str]:
    if not run.loss and not run.perplexity:
        return
    yield "## Results"
    yield ""
    named = {"train": "loss, last of training", "validation": "loss, best of validation"}
    rows = [(named.get(name, f"loss, {name}"), f"{loss:.4f}", "") for name, loss in run.loss.items()]
    for name, found in run.perplexity.items():
        interval = f"{found.low:.3f} to {found.high:.3f}, {found.n:,} examples"
        rows.append((f"perplexity of the validation split, {name}", f"{found.mean:.3f}", interval))
    yield from table(("", "", "95 % interval"), rows)
    base, tuned = run.perplexity.get("base"), run.perplexity.get("tuned")
    if base is not None and tuned is not None and tuned.low <= base.high and base.low <= tuned.high:
        yield ""
        yield "The intervals of base and tuned overlap: these examples alone do not tell them apart."


def _evaluated(run: RunFile, evaluation: Mapping[str, Any]) -> Iterator[str]:
    baseline, primary = evaluation.get("baseline", ""), evaluation.get("primary", "")
    dataset = evaluation.get("dataset") or {}
    other = dataset.get("sha256") != run.dataset.sha256
    yield "## Evaluation"
    yield ""
    yield (
        f"On {evaluation.get('examples', 0):,} examples of the split {code(evaluation.get('split', ''))} of "
        f"{code(dataset.get('name', ''))}{', which is not the dataset as it was trained on' if other else ''}. "
        f"Intervals are 95 %; p says how often chance alone would make such a difference from {code(baseline)}."
    )
    yield ""
    rows = []
    for model, metrics in evaluation.get("models", {}).items():
        for metric, found in metrics.items():
            if metric in _NOT_METRICS or not isinstance(found, Mapping) or "mean" not in found:
                continue
            against = evaluation.get("compared", {}).get(model, {}).get(metric, {})
            said = f"{against['difference']:+.4g} ({against['low']:+.4g} to {against['high']:+.4g})" if against else ""
            rows.append(
                (
                    f"**{metric}**" if metric == primary else metric,
                    code(model),
                    f"{found['mean']:.4g}",
                    f"{found['low']:.4g} to {found['high']:.4g}",
                    said,
                    f"{against['p']:.3g}" if against else "",
                )
            )
    yield from table(("metric", "model", "mean", "interval", "difference", "p"), sorted(rows))
    down = [name for name, up in evaluation.get("higher_is_better", {}).items() if not up]
    if down:
        yield ""
        yield f"Lower is better: {', '.join(sorted(down))}."


def _use(run: RunFile) -> Iterator[str]:
    yield "## How to use it"
    yield ""
    if run.method == "hosted":
        yield f"Ask the provider that trained it for the model {code(run.model or '(not there yet)')}."
    else:
        yield from _adapter_use(run)
    yield ""
    yield "Behind Penstock, for a share of the calls of an alias:"
    yield ""
    yield from fenced("bash", [f"penstock promote {run.name} --alias ALIAS --canary 10%"])


def _adapter_use(run: RunFile) -> Iterator[str]:
    base = _base(run)
    yield "For a try:"
    yield ""
    yield from fenced("bash", [f"penstock finetune serve {run.name}"])
    yield ""
    yield "With peft:"
    yield ""
    # The name is data, and goes into code as data does.
    yield from fenced(
        "python",
        [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            *_loading(base),
            'model = PeftModel.from_pretrained(base, "adapter")',
            'tokenizer = AutoTokenizer.from_pretrained("adapter")',
        ],
    )
    yield ""
    yield "With llama.cpp, from a GGUF of the base and the adapter as GGUF (`--gguf` writes `adapter.gguf`):"
    yield ""
    gguf = base if base.endswith(".gguf") else "base.gguf"
    yield from fenced("bash", [f"llama-server --model {shell(gguf)} --lora adapter.gguf --alias {run.name}"])
    if not base.endswith(".gguf"):
        yield ""
        yield "With vLLM:"
        yield ""
        adapter = f"--enable-lora --max-lora-rank {rank_of(run)} --lora-modules {run.name}=adapter"
        yield from fenced("bash", [f"vllm serve {shell(base)} {adapter}"])


def _loading(base: str) -> Iterable[str]:
    if base.endswith(".gguf"):
        return [f'base = AutoModelForCausalLM.from_pretrained(".", gguf_file={json.dumps(base)})']
    return [f"base = AutoModelForCausalLM.from_pretrained({json.dumps(base)})"]


def rank_of(run: RunFile) -> int:
    """Of the adapter, as vLLM wants it: the least of those that it has which is not too small."""
    rank = int(run.arguments.get("rank") or 16)
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if rank <= known), rank)


def _pruned(run: RunFile) -> Iterator[str]:
    if not run.prune and not run.prune_user:
        return
    yield "## Text that was cut off"
    yield ""
    yield (
        "Prompts of the training data had these beginnings, and were learnt without them. Ask without them too, or "
        "have Penstock cut them (`prune` of the variant)."
    )
    for texts, where in ((run.prune, "Instructions"), (run.prune_user, "User's turn")):
        for text in texts:
            yield ""
            yield f"{where}:"
            yield ""
            yield from fenced("", text.splitlines() or [""])


def _limits(run: RunFile, evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Limits"
    yield ""
    if not run.perplexity:
        yield "- No perplexity was measured: there is no validation split, or a provider trained it."
    if evaluation is None:
        yield "- It was not evaluated on the test split."
    yield "- What is measured above is all that was measured. Safety, bias and other languages or tasks were not."
    yield (
        "- The dataset was made from an application's traffic: who may use the model follows from what its users "
        "agreed to, from the licence of the base and from the terms of the models whose answers were learnt. No "
        "licence is stated here."
    )
    if run.method != "hosted" and not _is_on_hub(run):
        yield "- The base is a local file. Name it in `base_model` before the adapter is passed on."
