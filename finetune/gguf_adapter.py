"""An adapter as llama.cpp loads it beside a GGUF base: peft's tensors under GGUF's names.

Sources: llama.cpp's `convert_lora_to_gguf.py` and `llama-adapter.cpp` for keys, names and shapes, and its
`convert_hf_to_gguf.py` for the order of the rows of query and key. What llama.cpp computes differs from what was
trained by rounding alone: adapters that it cannot compute are refused.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .errors import FinetuneError

if TYPE_CHECKING:
    import numpy as np

ARCHITECTURES: Final = {
    **dict.fromkeys(("llama", "mistral"), "llama"),
    **{name: name for name in ("qwen2", "qwen3", "gemma", "gemma2")},
    **dict.fromkeys(("gemma3", "gemma3_text"), "gemma3"),
}
"""GGUF's name of each `model_type` of transformers whose layers are known to mean the same in llama.cpp."""
_REFUSED: Final = {
    "use_dora": "DoRA",
    "lora_bias": "biases of its own",
    "modules_to_save": "layers trained whole",
    "trainable_token_indices": "trained tokens",
    "target_parameters": "parameters that are no linear layer",
    "layer_replication": "replicated layers",
    "alora_invocation_tokens": "activated LoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "routing between adapters",
    "kasa_config": "KaSA",
}
_CHANGES_BASE: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin that change the weights of the base as well."""
_INSTEAD: Final = "Serve it merged: penstock finetune serve RUN --engine transformers"

_tensor = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight").fullmatch
_layer = re.compile(r"blk\.\d+\.").match


@dataclass(frozen=True)
class Shape:
    """What of a base the names and rows of its adapter depend on."""

    architecture: str
    layers: int
    heads: int
    key_heads: int


def refusal(adapter: Path) -> str:
    """Why llama.cpp cannot load this adapter, as far as its configuration tells; "" when it can."""
    config = _config_of(adapter)
    for name, says in _REFUSED.items():
        if config.get(name):
            return f"llama.cpp has no adapters with {says}. {_INSTEAD}"
    if config.get("bias", "none") != "none":
        return f"llama.cpp has no adapters with trained biases. {_INSTEAD}"
    began = str(config.get("init_lora_weights", ""))
    if began.startswith(_CHANGES_BASE):
        return f"An adapter that began with {began} needs a changed base. {_INSTEAD}"
    return ""


def write_gguf_adapter(adapter: Path, base_config: Path | Mapping[str, Any], out: Path) -> None:
    """Write `out`, whole or not at all, from the folder `adapter` that peft saved.

    `base_config` is that of the base: transformers' as a mapping, the `config.json` or its folder, or the base itself
    when it is a GGUF. Tensors are F32. Raises `FinetuneError` for what llama.cpp cannot load.
    """
    why = refusal(adapter)
    if why:
        raise FinetuneError(why)
    shape = _shape_of_gguf(base_config) if _is_gguf(base_config) else shape_of(base_config)
    tensors = list(_renamed(adapter, shape))
    if not tensors:
        raise FinetuneError(f"{adapter} is an adapter without weights. Train it again.")
    _write(out, shape, tensors)


def _is_gguf(base: Path | Mapping[str, Any]) -> bool:
    return isinstance(base, Path) and base.is_file() and base.suffix != ".json"


def _config_of(adapter: Path) -> dict[str, Any]:
    """Without peft, which would load PyTorch for it."""
    try:
        config = msgspec.json.decode((adapter / "adapter_config.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise FinetuneError(f"{adapter} is no adapter: adapter_config.json is missing or damaged.") from error
    if config.get("peft_type") != "LORA":
        raise FinetuneError(f"{adapter} is no LoRA adapter.")
    return config


def shape_of(base: Path | Mapping[str, Any]) -> Shape:
    """By its configuration. Raises `FinetuneError` when adapters of it are not written."""
    if isinstance(base, Path):
        path = base / "config.json" if base.is_dir() else base
        try:
            base = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise FinetuneError(f"{path} cannot be read: it is to say what the base is.") from error
    kind = str(base.get("model_type", ""))
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        raise FinetuneError(f"Adapters of {kind or 'an unnamed architecture'} are not written as GGUF. {_INSTEAD}")
    text: Mapping[str, Any] = base.get("text_config") or base
    try:
        heads = int(text["num_attention_heads"])
        return Shape(architecture, int(text["num_hidden_layers"]), heads, int(text.get("num_key_value_heads") or heads))
    except (KeyError, TypeError, ValueError) as error:
        raise FinetuneError("The configuration of the base does not say how many layers and heads it has.") from error


def _shape_of_gguf(base: Any) -> Shape:
    from gguf import GGUFReader

    try:
        fields = GGUFReader(base).fields
        architecture = str(fields["general.architecture"].contents())
        if architecture not in ARCHITECTURES.values():
            raise FinetuneError(f"Adapters of {architecture} are not written as GGUF. {_INSTEAD}")
        layers, heads = (
            int(fields[f"{architecture}.{name}"].contents()) for name in ("block_count", "attention.head_count")
        )
        kept = fields.get(f"{architecture}.attention.head_count_kv")
    except (OSError, ValueError, KeyError) as error:
        raise FinetuneError(f"{base} cannot be read as a GGUF.") from error
    return Shape(architecture, layers, heads, int(kept.contents()) if kept else heads)


def _renamed(adapter: Path, shape: Shape) -> Iterator[tuple[str, np.ndarray[Any, Any], float]]:
    """Name, values and, of each B, alpha: what llama.cpp divides by the rank to scale the product."""
    import gguf
    from peft.utils.other import get_pattern_key
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _config_of(adapter)
    alphas: Mapping[str, float] = config.get("alpha_pattern") or {}
    try:
        weights = load_file(adapter / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise FinetuneError(f"{adapter} has no adapter_model.safetensors that can be read.") from error
    architecture = next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.architecture)
    names = gguf.get_tensor_name_map(architecture, shape.layers)
    for key, tensor in sorted(weights.items()):
        found = _tensor(key)
        module, side = found.groups() if found else (key.removeprefix("base_model.model."), "")
        name = names.get_name(module.replace(".language_model.", "."))
        if found is None or name is None or not _layer(name):
            raise FinetuneError(f"llama.cpp has no adapters of {module}. {_INSTEAD}")
        values = tensor.float().numpy()
        if side == "A":
            yield f"{name}.weight.lora_a", values, 0.0
            continue
        rank = values.shape[1]
        alpha = float(alphas.get(get_pattern_key([*alphas], module), config["lora_alpha"]))
        if shape.architecture == "llama" and module.endswith(("q_proj", "k_proj")):
            values = interleaved(values, shape.heads if module.endswith("q_proj") else shape.key_heads)
        yield f"{name}.weight.lora_b", values, alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def interleaved(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """The rows of query or key as GGUF has them for Llama: the two halves of each head that turn together by pairs."""
    pairs = rows.reshape(heads, 2, rows.shape[0] // heads // 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _write(out: Path, shape: Shape, tensors: list[tuple[str, np.ndarray[Any, Any], float]]) -> None:
    """There is one alpha for the whole file: where that of a layer is another, its B is scaled."""
    import gguf

    alpha = next(alpha for _, _, alpha in tensors if alpha)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        writer = gguf.GGUFWriter(aside, shape.architecture)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        for name, values, own in tensors:
            writer.add_tensor(name, values * (own / alpha) if own not in (0.0, alpha) else values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        aside.replace(out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise FinetuneError(f"{out} cannot be written: {error.strerror}.") from error
