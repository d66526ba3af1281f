"""The model that training begins with: a folder as transformers saves it, a GGUF, or a name on the hub.

What is local is read without a network, whatever the environment says. A GGUF is dequantised by transformers, which
knows its architecture or says so.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import FinetuneError
from .failing import lacks_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_hub_name = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*").fullmatch
WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")
TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
_FETCHED: Final = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
_MAGIC: Final = b"GGUF"


@dataclass(frozen=True, slots=True)
class Base:
    source: str
    """As it was asked for; a path made absolute."""
    kind: Literal["folder", "gguf", "hub"]
    path: Path | None
    """Where it lies on this machine."""


def find_base(source: str) -> Base:
    """Of `source`. A name on the hub is fetched, or found where it was fetched before.

    Raises `FinetuneError`: nothing there, no weights, no tokenizer, no network.
    """
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:
        raise FinetuneError(f"There is no home for {source}.") from error
    if path.is_file():
        return _gguf(path)
    if path.is_dir():
        if not (path / "config.json").is_file() and len(found := sorted(path.glob("*.gguf"))) == 1:
            return _gguf(found[0])
        _complete(path)
        return Base(str(path.resolve()), "folder", path.resolve())
    if not _hub_name(source) or source.startswith("."):
        raise FinetuneError(f"There is no folder and no file {source}. --base takes one, or the hub's owner/name.")
    folder = _fetched(source)
    _complete(folder)
    return Base(source, "hub", folder)


def _gguf(path: Path) -> Base:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
    if magic != _MAGIC:
        raise FinetuneError(f"{path} is no GGUF. --base takes one, or the folder of a model.")
    return Base(str(path.resolve()), "gguf", path.resolve())


def _complete(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise FinetuneError(f"{folder} is no model: it has no config.json.")
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        raise FinetuneError(f"{folder} has no weights (*.safetensors). Fetch the whole model.")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise FinetuneError(f"{folder} has no tokenizer (tokenizer.json). Fetch the whole model.")


def _fetched(name: str) -> Path:
    import os

    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED, endpoint=os.environ.get("HF_ENDPOINT")))
    except GatedRepoError as error:
        raise FinetuneError(f"{name} wants its terms accepted on the hub, and a token in HF_TOKEN.") from error
    except RepositoryNotFoundError as error:
        raise FinetuneError(f"The hub has no model {name}, or a token in HF_TOKEN is needed for it.") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise FinetuneError(
            f"{name} is not on this machine and the hub cannot be reached. Fetch it where there is a network, and give "
            "its folder to --base."
        ) from error


def load_tokenizer(base: Base, chat_template: str = "") -> PreTrainedTokenizerBase:
    """That of the base, with the template of the file `chat_template` if one is named.

    Raises `FinetuneError`: it cannot be read, or there is no chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(*_where(base), local_files_only=True, **_how(base))
    except Exception as error:
        raise FinetuneError(f"The tokenizer of {base.source} cannot be read: {_line(error)}") from error
    if chat_template:
        try:
            tokenizer.chat_template = Path(chat_template).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise FinetuneError(f"--chat-template {chat_template} cannot be read: {_line(error)}") from error
    if not tokenizer.chat_template:
        raise FinetuneError(
            f"{base.source} has no chat template: a model that was not made to chat. --chat-template FILE"
        )
    if not tokenizer.is_fast:
        raise FinetuneError(
            f"The tokenizer of {base.source} has no tokenizer.json: where an answer begins is not known."
        )
    if isinstance(tokenizer.chat_template, dict):  # several, by name
        tokenizer.chat_template = tokenizer.chat_template.get("default", next(iter(tokenizer.chat_template.values())))
    return tokenizer


def load_model(base: Base, *, dtype: Any, device: Any, quantise: bool = False) -> PreTrainedModel:
    """Its weights in `dtype` on `device`; with `quantise`, in 4 bits that are computed with in `dtype`.

    Raises `FinetuneError`: an architecture that is not known, weights that cannot be read. Running out of memory is
    left to the caller.
    """
    from transformers import AutoModelForCausalLM

    if quantise and base.kind == "gguf":
        # transformers takes one way of quantising at a time, and a GGUF is one.
        with tempfile.TemporaryDirectory(prefix="penstock-base-") as aside:
            plain = load_model(base, dtype=dtype, device="cpu")
            plain.save_pretrained(aside)
            del plain
            model = load_model(Base(base.source, "folder", Path(aside)), dtype=dtype, device=device, quantise=True)
        model.config._name_or_path = model.name_or_path = ""
        return model
    kwargs: dict[str, Any] = {"dtype": dtype, "local_files_only": True, **_how(base)}
    if quantise:
        from transformers import BitsAndBytesConfig

        kwargs["device_map"] = {"": device}
        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(*_where(base), **kwargs)
    except Exception as error:  # whatever a damaged or unknown model makes libraries raise
        if lacks_memory(error):
            raise
        raise FinetuneError(f"{base.source} cannot be trained: {_line(error)}") from error
    if base.kind == "gguf":  # it is no longer quantised: it may be saved as it is
        model.hf_quantizer = None
        model.is_quantized = False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        # peft looks for a config.json at the name, and asks the hub where it finds none.
        model.config._name_or_path = model.name_or_path = ""
    return model if quantise else model.to(device)


def _where(base: Base) -> tuple[str]:
    assert base.path is not None
    return (str(base.path.parent if base.kind == "gguf" else base.path),)


def _how(base: Base) -> dict[str, str]:
    assert base.path is not None
    return {"gguf_file": base.path.name} if base.kind == "gguf" else {}


def _line(error: Exception) -> str:
    """The first sentence of what a library says."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
