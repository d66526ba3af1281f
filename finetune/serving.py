"""A tuned model behind an OpenAI-compatible server on this machine, for a try.

    serve(run, host="127.0.0.1", port=8000, stop=event, ready=print)

A base that is a GGUF is served by llama.cpp's own server with the adapter beside it; any other by the parts that
`transformers serve` is made of, base and adapter merged. What either needs is made when it is missing or older than the
adapter. Replies name the model as it was asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from .card import rank_of
from .errors import FinetuneError
from .gguf_adapter import refusal, write_gguf_adapter
from .run import Run

Engine = Literal["auto", "llama.cpp", "transformers", "vllm"]
ENGINES: Final = ("auto", "llama.cpp", "transformers", "vllm")
AT_A_TIME: Final = 4
"""Calls that llama.cpp computes together; more wait."""
_READY_WITHIN_S: Final = 60.0
_GGUF: Final = b"GGUF"


@dataclass(frozen=True)
class Offer:
    """A server that answers."""

    engine: str
    base_url: str
    """What OPENAI_BASE_URL would be."""
    model: str

    def curl(self) -> str:
        """A command that asks it something."""
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": "Hello!"}]})
        return f"curl {self.base_url}/chat/completions -H 'content-type: application/json' -d {shlex.quote(body)}"

    def upstream(self) -> str:
        """What `penstock.toml` says to have calls for the model go there."""
        lines = {"name": self.model, "base_url": self.base_url, "models": [self.model], "batch": "none"}
        return "\n".join(["[[upstreams]]", *(f"{name} = {json.dumps(value)}" for name, value in lines.items())])


def engine_of(run: Run, asked: Engine = "auto") -> Literal["llama.cpp", "transformers", "vllm"]:
    """Which one serves it. Raises `FinetuneError`: nothing to serve, or not by the one that was asked for."""
    _check(run)
    base = Path(run.file.base)
    if asked in ("transformers", "vllm"):
        return asked
    if not _is_gguf(base):
        if asked == "llama.cpp":
            raise FinetuneError(f"llama.cpp needs a GGUF, and the base of {run.name} is none. --engine transformers")
        return "transformers"
    why = refusal(run.adapter)
    if why and asked == "llama.cpp":
        raise FinetuneError(why)
    return "transformers" if why else "llama.cpp"


def _check(run: Run) -> None:
    if run.file.method == "hosted":
        raise FinetuneError(f"{run.name} is at its provider: ask there for {run.file.model or 'it when it is done'}.")
    if not (run.adapter / "adapter_config.json").is_file():
        raise FinetuneError(
            f"{run.name} is {run.file.state} and has no adapter yet. penstock finetune lora --resume {run.name}"
        )


def _is_gguf(base: Path) -> bool:
    try:
        with base.open("rb") as file:
            return file.read(len(_GGUF)) == _GGUF
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except OSError as error:
        raise FinetuneError(f"The base {base} cannot be read: {error.strerror}.") from error


def prepare(run: Run, engine: Literal["llama.cpp", "transformers"]) -> Path:
    """The file or folder that the engine loads beside or instead of the base. Raises `FinetuneError`."""
    made = run.gguf_adapter if engine == "llama.cpp" else run.merged
    if _is_newer(made, run.adapter):
        return made  # without holding the run, whose folder need not be one that can be written to
    with run.held():
        if _is_newer(made, run.adapter):
            return made
        _base_is_there(run)
        if engine == "llama.cpp":
            write_gguf_adapter(run.adapter, Path(run.file.base), made)
        else:
            _merge(run)
    return made


def _is_newer(made: Path, adapter: Path) -> bool:
    """The age of a folder is that of its newest weights: it is renamed when it is whole."""
    weights = [
        path.stat().st_mtime_ns for path in (made.glob("*.safetensors") if made.is_dir() else [made]) if path.is_file()
    ]
    trained = [path.stat().st_mtime_ns for path in adapter.glob("adapter_model.*")]
    return bool(weights) and max(weights) >= max(trained, default=0)


def _base_is_there(run: Run) -> None:
    if run.file.base.startswith("/") and not Path(run.file.base).exists():
        raise FinetuneError(f"The base of {run.name} is gone from {run.file.base}. Put it back there.")


def _merge(run: Run) -> None:
    import torch

    from .merging import merge
    from .training.bases import Base, find_base, load_model, load_tokenizer

    dtype = getattr(torch, run.file.dtype, torch.float32)
    tokenizer = load_tokenizer(Base(str(run.adapter), "folder", run.adapter))
    base = load_model(find_base(run.file.base), dtype=dtype, device="cpu", quantise=False)
    shutil.rmtree(run.merged, ignore_errors=True)
    merge(base, run.adapter, tokenizer, run.merged)


def vllm_command(run: Run, *, host: str, port: int, name: str = "") -> str:
    """What serves it where there are GPUs: base and adapter, or merged where vLLM cannot load the adapter."""
    name = name or run.name
    common = ["--host", host, "--port", str(port)]
    if _is_gguf(Path(run.file.base)) or refusal(run.adapter):
        words = ["vllm", "serve", str(prepare(run, "transformers").resolve()), "--served-model-name", name, *common]
    else:
        lora = ["--enable-lora", "--max-lora-rank", str(rank_of(run.file))]
        lora += ["--lora-modules", f"{name}={run.adapter.resolve()}"]
        words = ["vllm", "serve", run.file.base, *lora, *common]
    return shlex.join(words)


def untuned(run: Run, asked: Engine = "auto") -> tuple[Literal["llama.cpp", "transformers"], Path]:
    """Which engine serves the base alone, and what it loads. Raises `FinetuneError`: the base is not here."""
    _check(run)
    _base_is_there(run)
    base = Path(run.file.base)
    if _is_gguf(base):
        if asked == "transformers":
            raise FinetuneError(f"The base of {run.name} is a GGUF, which llama.cpp serves: leave out --engine.")
        return "llama.cpp", base
    if asked == "llama.cpp":
        raise FinetuneError(f"llama.cpp needs a GGUF, and the base of {run.name} is none. --engine transformers")
    if not base.is_dir():
        raise FinetuneError(f"The base of {run.name} is on the hub: {base} is no folder here. Download it first.")
    return "transformers", base


def serve(
    run: Run,
    *,
    host: str,
    port: int,
    stop: threading.Event,
    ready: Callable[[Offer], None],
    engine: Engine = "auto",
    name: str = "",
    threads: int = 0,
    context: int = 0,
    base_alone: bool = False,
) -> None:
    """Serve until `stop` is set; `ready` is told once it answers.

    `base_alone`: without the adapter, to compare with. `port` 0 takes a free one; `threads` 0 one for each processor;
    `context`, in tokens, is what all calls of a moment share in llama.cpp, 0 what the base was made for. Raises
    `FinetuneError`: nothing to serve, the port is taken, the engine fails.
    """
    chosen = untuned(run, engine)[0] if base_alone else engine_of(run, engine)
    if chosen == "vllm":
        raise FinetuneError("vLLM runs where its GPUs are: --engine vllm prints the command, and serves nothing here.")
    if port:
        _check_free(host, port)
    made = untuned(run, engine)[1] if base_alone else prepare(run, chosen)
    model = name or (f"{run.name}-base" if base_alone else run.name)
    threads = threads or len(os.sched_getaffinity(0))
    if chosen == "llama.cpp":
        adapter = None if base_alone else made
        serving = _llama_cpp(Path(run.file.base), adapter, model, _Place(host, port, threads, context))
    else:
        from .serving_transformers import serving_transformers

        serving = serving_transformers(made, model, host=host, port=port, threads=threads)
    with serving as url:
        _wait_ready(url, stop)
        if not stop.is_set():
            ready(Offer(chosen, f"{url}/v1", model))
        stop.wait()


@dataclass(frozen=True)
class _Place:
    host: str
    port: int
    threads: int
    context: int


def _check_free(host: str, port: int) -> None:
    """Engines say it in their own words, long after the weights were loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise FinetuneError(
                f"{host}:{port} cannot be listened on: {error.strerror}. --port takes another."
            ) from error


@contextlib.contextmanager
def _llama_cpp(base: Path, adapter: Path | None, model: str, place: _Place) -> Iterator[str]:
    """llama.cpp's server in this process, on threads of its own."""
    import xllamacpp

    asked: Any = xllamacpp.CommonParams()
    asked.model.path = str(base)
    if adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = str(adapter), 1.0
        asked.lora_adapters = [lora]
    asked.model_alias = {model}
    asked.hostnames = [place.host]
    asked.port = place.port
    asked.n_parallel = AT_A_TIME
    asked.kv_unified = True  # so that one long conversation may have all of the context
    asked.n_ctx = place.context
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = place.threads
    # Threads that wait for each other in a loop keep a second server off its processors: two of them side by side on
    # two cores made 6 tokens a second, and 44 so; alone it costs nothing.
    asked.cpuparams.poll = asked.cpuparams_batch.poll = 0
    asked.cors_origins = "localhost"  # no web page from elsewhere asks it
    asked.ui = False
    asked.verbosity = 1  # errors
    try:
        server = xllamacpp.Server(asked)
    except RuntimeError as error:
        beside = f" with {adapter}" if adapter else ""
        raise FinetuneError(f"llama.cpp cannot serve {base}{beside}; above is why.") from error
    try:
        yield _reachable(server.listening_address, place.host)
    finally:
        del server  # which ends its threads


def _reachable(url: str, host: str) -> str:
    """An address that listens everywhere is asked on loopback."""
    return url.replace(f"//{host}:", "//127.0.0.1:") if host == "0.0.0.0" else url


def _wait_ready(url: str, stop: threading.Event) -> None:
    import httpx

    deadline = time.monotonic() + _READY_WITHIN_S
    while not stop.is_set():
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not yet
        if time.monotonic() > deadline:
            raise FinetuneError(f"The server at {url} did not become ready within {_READY_WITHIN_S:.0f} s.")
        stop.wait(0.05)
