"""What a run will take, before it begins: steps, memory, time."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .conversations import Counted
from .machine import Machine
from .memory import memory_bytes
from .options import LoraOptions

if TYPE_CHECKING:
    import torch

SHARE: Final = 0.35
"""Of the speed of a product of matrices, what a run gets out of a device: with SmolLM2-135M on a CPU 0.28 to 0.48, and
0.3 to 0.4 is what is told of GPUs. The rest goes into what is no product, and into waiting for memory."""
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
    validations: int
    """Between the steps; the last step has one."""
    seconds: float
    """Estimated, of training, its validations and the two perplexities at the end: their floating-point operations at
    `SHARE` of `flops_per_s`."""
    flops_per_s: float
    """Of products of matrices, measured now."""
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
    lengths: Sequence[int],
    validation_lengths: Sequence[int],
    answers_by: str,
) -> Plan:
    """`lengths`: tokens of each row, what is packed being one; of a pair, of its prompt with the longer answer."""
    steps, epochs = steps_of(options, len(lengths), machine.processes)
    validations = math.ceil(steps / save_steps_of(options, steps)) if validation_lengths else 0
    parameters = _parameters(model)
    speed = flops_per_s(machine.device, machine.dtype)
    # Forward and the way back to each adapter, two operations a parameter and token each; once more forward where
    # activations are made anew. Of a pair both answers, and both once more forward by the base.
    both = 2 if options.dpo else 1
    passes = both * (4 + (2 if options.gradient_checkpointing else 0) + (2 if options.dpo else 0))
    passes_validating = both * (4 if options.dpo else 2)
    passed = passes * epochs * padded(lengths, options) / machine.processes
    passed += passes_validating * validations * padded(validation_lengths, options) / machine.processes
    passed += 2 * 2 * sum(validation_lengths)
    return Plan(
        device=machine.named,
        dtype=machine.dtype_name,
        parameters=parameters,
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        weights_bytes=int(model.get_memory_footprint()),
        examples=counted.taken,
        validation_examples=len(validation_lengths),
        tokens=counted.tokens,
        learnt_tokens=counted.learnt,
        rows=len(lengths),
        step_examples=options.batch_size * options.accumulation * machine.processes,
        steps=steps,
        epochs=epochs,
        memory_bytes=memory_bytes(options, machine, model, lengths),
        memory_bytes_there=machine.memory_bytes(),
        validations=validations,
        seconds=passed * parameters / (speed * SHARE),
        flops_per_s=speed,
        left_out=counted.left_out(),
        answers_by=answers_by,
    )


def padded(lengths: Sequence[int], options: LoraOptions) -> int:
    """Tokens of all with what fills the shorter rows of a batch up, for one order that stands for any. Packed rows are
    not filled up."""
    if options.packing:
        return sum(lengths)
    rows = sorted(lengths) if options.group_by_length else random.Random(0).sample(lengths, len(lengths))
    batches = [rows[at : at + options.batch_size] for at in range(0, len(rows), options.batch_size)]
    return sum(max(batch) * len(batch) for batch in batches)


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
        f"time        about {duration(found.seconds)}{_validated(found)}, at {SHARE * 100:.0f} % of the "
        f"{found.flops_per_s / 1e12:.3g} TFLOP/s that were measured",
    ]
    if found.rows != found.examples:
        lines.insert(3, f"packed      into {found.rows:,} rows")
    if found.left_out:
        lines.insert(3, f"            {found.left_out}")
    return lines


def _validated(found: Plan) -> str:
    if not found.validation_examples:
        return ""
    return f" with {found.validations:,} validation{'s' * (found.validations != 1)} and two perplexities"


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
