"""The adapter, and the trainers of trl around it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
from peft import LoraConfig, TaskType
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, pack_dataset

from ..errors import FinetuneError
from .conversations import Example, Pair
from .estimating import save_steps_of
from .machine import Machine
from .options import LoraOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback

ALL_LINEAR = "all-linear"


class _PairTrainer(DPOTrainer):  # type: ignore[misc]  # trl is not typed for us
    """trl writes pairs as text and tokens itself; ours are tokens already, by the same rules as all other examples."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def examples_of(rows: Sequence[Example]) -> datasets.Dataset:
    """As `SFTTrainer` takes what is tokens already; `length` is what rows are grouped by."""
    return datasets.Dataset.from_dict(
        {
            "input_ids": [row.ids for row in rows],
            "labels": [row.labels for row in rows],
            "length": [len(row.ids) for row in rows],
        }
    )


def packed(rows: datasets.Dataset, length: int) -> datasets.Dataset:
    """Several examples in each row, none of which sees another; the fullest rows first (best fit, decreasing)."""
    return pack_dataset(rows.select_columns(["input_ids", "labels"]), length, "bfd")


def pairs_of(rows: Sequence[Pair]) -> datasets.Dataset:
    """As `DPOTrainer` makes them for itself."""
    return datasets.Dataset.from_dict(
        {
            "prompt_ids": [row.prompt for row in rows],
            "chosen_ids": [row.chosen for row in rows],
            "rejected_ids": [row.rejected for row in rows],
            "length": [len(row.prompt) + max(len(row.chosen), len(row.rejected)) for row in rows],
        }
    )


def adapter_config(options: LoraOptions) -> LoraConfig:
    targets = list(options.targets)
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=ALL_LINEAR if targets == [ALL_LINEAR] else targets,
        use_rslora=options.rslora,
        use_dora=options.dora,
    )


def trainer(
    options: LoraOptions,
    machine: Machine,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    rows: datasets.Dataset,
    validation: datasets.Dataset | None,
    steps: int,
    output: Path,
    name: str,
    trackers: list[str],
    callbacks: Sequence[TrainerCallback],
) -> Trainer:
    """trl's own for the objective, around `model` with a new adapter. `rows` are packed already if that is asked for.

    Raises `FinetuneError`: no module has the names of the targets.
    """
    made = _sft if not options.dpo else _dpo
    arguments = _arguments(options, machine, steps, output, name, trackers, validates=validation is not None)
    with warnings.catch_warnings():
        # Of libraries about each other; whoever runs this can do nothing about them.
        warnings.simplefilter("ignore")
        try:
            found = made(
                options,
                arguments,
                model=model,
                processing_class=tokenizer,
                train_dataset=rows,
                eval_dataset=validation,
                peft_config=adapter_config(options),
                callbacks=list(callbacks),
            )
        except ValueError as error:
            if "arget modules" in str(error) or "lm_head" in str(error) or "target_modules" in str(error):
                raise FinetuneError(
                    f"--targets {','.join(options.targets)} cannot be trained; the base has {_modules(model)}, or take "
                    f"{ALL_LINEAR}."
                ) from error
            raise
    _full_precision(found.model, machine)
    return found


def _sft(options: LoraOptions, arguments: dict[str, Any], **parts: Any) -> Trainer:
    config = SFTConfig(
        **arguments,
        max_length=options.max_length,
        packing=options.packing,
        eval_packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return SFTTrainer(args=config, **parts)


def _dpo(options: LoraOptions, arguments: dict[str, Any], **parts: Any) -> Trainer:
    return _PairTrainer(args=DPOConfig(**arguments, max_length=None, beta=options.beta), **parts)


def _arguments(
    options: LoraOptions,
    machine: Machine,
    steps: int,
    output: Path,
    name: str,
    trackers: list[str],
    *,
    validates: bool,
) -> dict[str, Any]:
    every = save_steps_of(options, steps)
    return {
        "output_dir": str(output),
        "run_name": name,
        "report_to": trackers,
        "use_cpu": machine.cpu,
        "bf16": machine.dtype == torch.bfloat16,
        "seed": options.seed,
        "data_seed": options.seed,
        "max_steps": steps,
        "per_device_train_batch_size": options.batch_size,
        "per_device_eval_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "gradient_checkpointing": options.gradient_checkpointing,
        "learning_rate": options.rate,
        "lr_scheduler_type": options.schedule,
        "warmup_steps": round(options.warmup * steps),
        "weight_decay": options.weight_decay,
        "train_sampling_strategy": "group_by_length" if options.group_by_length else "random",
        "logging_steps": options.log_steps,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if validates else "no",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        # The best one is among those that are kept; the last one is needed to go on.
        "save_total_limit": max(options.keep_checkpoints, 2),
        "load_best_model_at_end": validates,
        "metric_for_best_model": "eval_loss" if validates else None,
        "dataloader_pin_memory": not machine.cpu,
        "disable_tqdm": True,
    }


def _full_precision(model: Any, machine: Machine) -> None:
    """trl makes adapters of 4-bit models bfloat16. Where that is not what is computed with, steps would be lost in
    its eight bits."""
    if machine.dtype != torch.bfloat16:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()


def _modules(model: Any) -> str:
    names = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    return ", ".join(sorted(names - {"lm_head"}))
