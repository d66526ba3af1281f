"""How much memory a step of training takes at most.

That is where the loss begins its way back: every layer's activations are kept, and the words' probabilities are made.
What autograd keeps was counted by its own hooks, tensor by tensor; a test does so again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .machine import Machine
from .options import LoraOptions

OPTIMIZER_BYTES: Final = 8
"""AdamW's two moments of a parameter, in float32."""
PROCESS_BYTES: Final = 620_000_000
"""Of PyTorch and its libraries, where they share the memory."""
TILE: Final = (4096, 32768)
"""Tokens and words of which trl makes probabilities at a time."""
TILE_COPIES: Final = 8.25
"""Of a tile in float32, where there is no Triton to do it in place: logits, scaled twice, logarithm, probability,
gradient, target as bool and float, their difference, its product."""
BLOCK_BYTES_MAX: Final = 2**25
"""glibc takes larger blocks from the system and gives them back; smaller ones lie on its heap."""


def memory_bytes(options: LoraOptions, machine: Machine, model: Any, lengths: Sequence[int]) -> int:
    """Of one device, with the longest rows in one batch; `lengths` as `plan` has them."""
    config = model.config.get_text_config()
    longest = sorted(lengths)[-options.batch_size :]
    tokens = sum(longest) if options.packing else len(longest) * longest[-1] * (2 if options.dpo else 1)
    width = tokens if options.packing else longest[-1]  # what a row of attention's mask spans: packed rows lie in one
    cpu = machine.device.type == "cpu"
    layer = tokens * layer_bytes(options, machine, model, width)
    tile = min(tokens, TILE[0]) * min(config.vocab_size, TILE[1])
    probabilities = int(tile * (4 * TILE_COPIES if cpu else machine.dtype.itemsize))
    if options.gradient_checkpointing:  # only what each layer begins with; the rest is made anew, one at a time
        kept = tokens * config.hidden_size * config.num_hidden_layers * machine.dtype.itemsize
        kept += max(layer, probabilities)
    else:
        kept = layer * config.num_hidden_layers + probabilities
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = int(model.get_memory_footprint())
    if cpu:
        kept += PROCESS_BYTES + _holes(model, tokens, machine.dtype.itemsize)
    return int(weights + trainable * (4 + OPTIMIZER_BYTES) + kept)


def layer_bytes(options: LoraOptions, machine: Machine, model: Any, width: int) -> int:
    """What autograd keeps of a token in a layer of a Llama and its like, whose weights are frozen: what both norms
    begin with, in float32; query, key, value and attention's result; the mask; three of the gated MLP; and what
    adapters are given."""
    config = model.config.get_text_config()
    hidden, heads = config.hidden_size, config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    attention = 4 * heads * (getattr(config, "head_dim", None) or hidden // heads)
    adapted = [part for part in model.modules() if hasattr(part, "lora_A")]
    given = sum(int(part.in_features) for part in adapted) // config.num_hidden_layers
    if options.dropout:  # its own for each adapter, and which of it were left out
        given *= 4 + (4 if machine.device.type == "cpu" else 1)
    else:  # shared by adapters of the same input
        given = 4 * min(given, 2 * hidden + inner)
    inside = options.rank * len(adapted) // config.num_hidden_layers
    return int(2 * hidden * 4 + (attention + 3 * inner + width + inside) * machine.dtype.itemsize + given)


def _holes(model: Any, tokens: int, itemsize: int) -> int:
    """What lies unused on glibc's heap: results that a layer made and freed, between others that are kept. Aligned
    blocks are seldom put where one of their size was. Measured: a value for each that a linear layer gives, also where
    layers are made anew."""
    from torch.nn import Linear

    head = model.get_output_embeddings()
    blocks = [
        tokens * part.out_features * itemsize
        for part in model.modules()
        if isinstance(part, Linear) and part is not head
    ]
    return sum(block for block in blocks if block < BLOCK_BYTES_MAX)
