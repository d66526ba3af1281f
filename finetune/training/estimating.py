"""What a run will take, before it begins: steps, memory, time."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, Final

from .conversations import Counted
from .machine import Machine
from .options import LoraOptions

if TYPE_CHECKING:
    import torch

OPTIMIZER_BYTES: Final = 8
"""AdamW's two moments of a parameter, in float32."""
ACTIVATIONS: Final = 34
"""Values that a layer keeps for each token and hidden unit (https://arxiv.org/abs/2205.05198, without dropout and
attention's square, which newer kernels do not keep)."""
LOGITS: Final = 6
"""Copies in float32 of what a token gets for every word there is: logits, their gradient, what the loss and the shown
accuracy make of them. As measured with SmolLM2-135M on a CPU."""
PROCESS_BYTES: Final = 400_000_000
"""Of PyTorch and its libraries, where they share the memory."""
_TRIAL_S: Final = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All numbers of what is about to begin."""

    device: str
    dtype: str
    parameters: int
    trainable: int
    weights_bytes: int
    examples: int
    validation_examples: int
    tokens: int
    """Of one epoch."""
    learnt_tokens: int
    rows: int
    """What an epoch trains on: examples, or what they were packed into."""
    step_examples: int
    steps: int
    epochs: float
    memory_bytes: int
    """Estimated, of one device."""
    memory_bytes_there: int
    seconds: float
    """Estimated from the floating-point operations of a step and how fast this device multiplies matrices."""
    flops_per_s: float
    left_out: str
    answers_by: str
    """How answers are found: `marks`, `trl`, `prefixes`."""


def steps_of(options: LoraOptions, rows: int, processes: int) -> tuple[int, float]:
    """Steps of the optimizer, and the epochs they are; as transformers counts."""
    batches = math.ceil(rows / (options.batch_size * processes))
    an_epoch = max(math.ceil(batches / options.accumulation), 1)
    steps = options.max_steps or math.ceil(options.epochs * an_epoch)
    return steps, steps / an_epoch


def save_steps_of(options: LoraOptions, steps: int) -> int:
    """Steps between two checkpoints; each falls on a step that is logged, so that no loss is averaged anew."""
    every = options.save_steps or min(max(steps // 10, 1), 500)
    return max(math.ceil(every / options.log_steps), 1) * options.log_steps


def plan(
    options: LoraOptions,
    machine: Machine,
    model: Any,
    *,
    counted: Counted,
    validation_examples: int,
    rows: int,
    row_length: int,
    answers_by: str,
) -> Plan:
    """`row_length`: tokens of the longest row."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = int(model.get_memory_footprint())
    steps, epochs = steps_of(options, rows, machine.processes)
    config = model.config.get_text_config()
    parameters = _parameters(model)
    speed = flops_per_s(machine.device, machine.dtype)
    # Forward and the way back to each adapter, two operations a parameter and token each; once more forward where
    # activations are made anew. Of a pair both answers, and both once more forward by the base.
    passes = 4 + (2 if options.gradient_checkpointing else 0) + (2 if options.dpo else 0)
    flops = passes * parameters * counted.tokens * epochs / machine.processes
    tokens = min(options.batch_size, rows) * row_length * (2 if options.dpo else 1)
    layers = 1 if options.gradient_checkpointing else config.num_hidden_layers
    kept = tokens * config.hidden_size * (ACTIVATIONS * layers * machine.dtype.itemsize // 2)
    kept += tokens * config.hidden_size * config.num_hidden_layers * machine.dtype.itemsize
    kept += tokens * _adapted(model, options) * layers // config.num_hidden_layers * machine.dtype.itemsize
    kept += tokens * config.vocab_size * LOGITS * 4
    kept += PROCESS_BYTES if machine.device.type == "cpu" else 0
    return Plan(
        device=machine.named,
        dtype=machine.dtype_name,
        parameters=parameters,
        trainable=trainable,
        weights_bytes=weights,
        examples=counted.taken,
        validation_examples=validation_examples,
        tokens=counted.tokens,
        learnt_tokens=counted.learnt,
        rows=rows,
        step_examples=options.batch_size * options.accumulation * machine.processes,
        steps=steps,
        epochs=epochs,
        memory_bytes=weights + trainable * (4 + OPTIMIZER_BYTES) + kept,
        memory_bytes_there=machine.memory_bytes(),
        seconds=flops / speed,
        flops_per_s=speed,
        left_out=counted.left_out(),
        answers_by=answers_by,
    )


def _adapted(model: Any, options: LoraOptions) -> int:
    """Values that adapters keep for a token: their inputs once more, where some are dropped."""
    if not options.dropout:
        return 0
    return sum(int(part.in_features) for part in model.modules() if hasattr(part, "lora_A"))


def _parameters(model: Any) -> int:
    """In 4 bits two of them lie in one byte."""
    return sum(
        p.numel() * (2 if type(p).__name__ == "Params4bit" and p.element_size() == 1 else 1) for p in model.parameters()
    )


def flops_per_s(device: torch.device, dtype: torch.dtype, trial_s: float = _TRIAL_S) -> float:
    """Floating-point operations a second in products of matrices, measured for `trial_s` after one to warm up."""
    import torch

    size = 512 if device.type == "cpu" else 8192
    left = torch.ones(size, size, device=device, dtype=dtype)
    products, began = -1, time.perf_counter()
    while products < 1 or time.perf_counter() - began < trial_s:
        float((left @ left)[0, 0])  # waits for it
        products += 1
        if not products:
            began = time.perf_counter()
    return 2 * size**3 * products / (time.perf_counter() - began)


def words(found: Plan) -> list[str]:
    """The plan in lines for people."""
    lines = [
        f"device      {found.device}, {found.dtype}",
        f"parameters  {found.trainable:,} trained of {found.parameters:,} "
        f"({100 * found.trainable / found.parameters:.2f} %)",
        f"examples    {found.examples:,} to train on ({found.tokens:,} tokens, {found.learnt_tokens:,} learnt), "
        f"{found.validation_examples:,} to validate with",
        f"answers     found by {_BY[found.answers_by]}",
        f"steps       {found.steps:,} of {found.step_examples} examples: {found.epochs:.3g} epochs",
        f"memory      about {size(found.memory_bytes)}, {size(found.weights_bytes)} of it weights"
        + (f"; there are {size(found.memory_bytes_there)}" if found.memory_bytes_there else ""),
        f"time        about {duration(found.seconds)}, from the operations of a step at "
        f"{found.flops_per_s / 1e12:.3g} TFLOP/s (measured)",
    ]
    if found.rows != found.examples:
        lines.insert(3, f"packed      into {found.rows:,} rows")
    if found.left_out:
        lines.insert(3, f"            {found.left_out}")
    return lines


_BY: Final = {
    "marks": "the marks in the chat template",
    "trl": "the marks of trl's own version of the chat template",
    "prefixes": "writing each conversation up to them",
}


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def duration(seconds: float) -> str:
    """In words, roughly."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
