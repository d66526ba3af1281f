"""What a step is said to keep, held against what autograd keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune import lora
from finetune.training.gathering import gather
from finetune.training.machine import Machine
from finetune.training.memory import layer_bytes, memory_bytes
from finetune.training.options import LoraOptions
from finetune.training.progress import Silent


def options_of(dataset: Path, base: Path, **changed: Any) -> LoraOptions:
    return LoraOptions(dataset=str(dataset), base=str(base), max_steps=1, batch_size=8, **changed)


def kept(options: LoraOptions, folder: Path) -> tuple[float, float]:
    """Bytes of a token and layer: found in a batch, and as they are estimated."""
    import torch

    material = gather(options, Silent())
    made = lora.around(material, lora._loaded(material), folder, "x", [], [])
    batch = next(iter(made.get_train_dataloader()))
    model: Any = made.model
    ours = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    found: dict[int, torch.Tensor] = {}  # held, so that no other gets its address

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in ours:
            found.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made.compute_loss(model, batch)
    tokens, width = batch["input_ids"].numel(), batch["input_ids"].shape[1]
    all_bytes = sum(tensor.untyped_storage().nbytes() for tensor in found.values())
    layers = model.config.num_hidden_layers
    return all_bytes / tokens / layers, layer_bytes(options, material.machine, model, width)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"dropout": 0.0},
        {"dropout": 0.0, "targets": ("q_proj", "v_proj")},
        {"rank": 64},
        {"packing": True, "max_length": 256},
        {"qlora": True},
    ],
    ids=str,
)
def test_a_layer_keeps_what_is_said(tiny_base: Path, small_set: Path, tmp_path: Path, changed: Any) -> None:
    found, estimated = kept(options_of(small_set, tiny_base, **changed), tmp_path)
    # A tiny model has much beside its layers: what is kept of the end is no part of the estimate.
    assert estimated == pytest.approx(found, rel=0.12)


def test_more_at_a_time_takes_more_and_layers_made_anew_take_less(tiny_base: Path, small_set: Path) -> None:
    def estimated(lengths: list[int], **changed: Any) -> int:
        options = options_of(small_set, tiny_base, **changed)
        return memory_bytes(options, Machine(options), model, lengths)

    options = options_of(small_set, tiny_base)
    material = gather(options, Silent())
    model = lora.around(material, lora._loaded(material), Path("unwritten"), "x", [], []).model
    few = estimated([70] * 4)
    assert estimated([70] * 8) > few
    assert estimated([70] * 80) == estimated([70] * 8)  # a batch is no larger
    assert estimated([10] * 7 + [70]) == estimated([70] * 8)  # the longest row fills up the others
    assert estimated([10] * 7 + [70], packing=True) < estimated([70] * 8)
    assert estimated([70] * 8, gradient_checkpointing=True) < estimated([70] * 8)
    assert estimated([70] * 8, dpo=True) > estimated([70] * 8)
