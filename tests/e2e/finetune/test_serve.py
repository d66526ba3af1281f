"""`penstock finetune serve`: a tuned model answers as it was trained, alone and behind Penstock."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from finetune.gguf_adapter import write_gguf_adapter
from finetune.run import Run, RunFile, Trained
from tests import tiny_llama
from tests.e2e.finetune import smollm2
from tests.e2e.serve import penstock

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.timeout(300),
    # peft asks transformers by a name that has a new one.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
CLOSE = 0.02
"""Of log probabilities, both sides computing in F32 but for llama.cpp's cache of keys and values in F16."""


class Served:
    def __init__(self, process: subprocess.Popen[str], said: str) -> None:
        self.process = process
        self.said = said
        self.base_url = re.findall(r"answers at (\S+)", said)[0]
        self.upstream = tomllib.loads(said[said.index("[[upstreams]]") :])["upstreams"][0]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        return self.process.returncode, rest


def command(run: Run, *options: str) -> list[str]:
    return [sys.executable, "-m", "proxy", "finetune", "serve", str(run.folder), *options]


@contextlib.contextmanager
def served(run: Run, *options: str) -> Iterator[Served]:
    """On a free port, from when it said all until the block ends."""
    process = subprocess.Popen(
        command(run, "--port", "0", "--threads", "1", *options), cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    killer = threading.Timer(240, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("batch = "):  # the last line of the block to paste
                break
        else:
            assert process.stderr is not None
            raise AssertionError(f"it did not come up: {said}{process.stderr.read()}")
        yield Served(process, said)
    finally:
        killer.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(root: Path, name: str, base: Path) -> Run:
    file = RunFile(
        name=name, method="lora", state="finished", dataset=Trained(name="d", folder="/nowhere", sha256=""),
        base=str(base), arguments={}, dtype="float32",
    )  # fmt: skip
    return Run.create(root, file)


def asked(client: openai.OpenAI, model: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": "Where is my parcel?"}]
    return client.chat.completions.create(model=model, messages=messages, temperature=0, **more)


def test_llama_cpp_says_what_peft_says(tmp_path: Path) -> None:
    """SmolLM2, whole: tokens that llama.cpp chose are those that base and adapter in PyTorch find likeliest."""
    import torch

    torch.set_num_threads(1)
    reader, tensors = smollm2.read()
    run = finished(
        tmp_path / "runs", "parcels-lora", smollm2.write_dequantised(reader, tensors, tmp_path / "base.gguf")
    )
    model = smollm2.adapted(smollm2.in_torch(tensors), run.adapter)
    write_gguf_adapter(run.adapter, model.config.to_dict(), run.gguf_adapter)  # here PyTorch is loaded already
    with served(run) as server, openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        answer = asked(client, "parcels-lora", max_tokens=12, logprobs=True, top_logprobs=5)
        root = server.base_url.removesuffix("/v1")
        text = httpx.post(
            f"{root}/apply-template", json={"messages": [{"role": "user", "content": "Where is my parcel?"}]}
        ).json()["prompt"]
        prompt = httpx.post(f"{root}/tokenize", json={"content": text, "parse_special": True}).json()["tokens"]
        _behind_penstock(server, tmp_path)
        assert answer.model == "parcels-lora"
        assert [one.id for one in client.models.list()] == ["parcels-lora"]
        assert server.end(signal.SIGTERM)[0] == 0
    chosen = answer.choices[0].logprobs.content
    ids = [one.model_extra["id"] for one in chosen]
    with torch.no_grad():
        tuned = torch.log_softmax(model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1], -1)
        with model.disable_adapter():
            base = torch.log_softmax(model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1], -1)
    assert tuned.argmax(-1).tolist() == ids
    found = torch.tensor([one.logprob for one in chosen])
    picked = torch.arange(len(ids)), torch.tensor(ids)
    assert (tuned[picked] - found).abs().max() < CLOSE
    assert (base[picked] - found).abs().max() > 50 * CLOSE, "an adapter that does nothing shows nothing"


def _behind_penstock(server: Served, tmp_path: Path) -> None:
    """With the block that it told to paste, under the name that it told to ask for."""
    table = dict(server.upstream)
    name = table.pop("name")
    with (
        penstock(tmp_path / "penstock", upstreams={name: table}) as proxy,
        openai.OpenAI(base_url=proxy.base_url, api_key="none", max_retries=0) as client,
    ):
        answer = asked(client, name, max_tokens=4)
    assert answer.model == name
    assert answer.usage.completion_tokens == 4


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a tiny model in a folder."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("tiny@home")
    run = finished(folder / "runs", "tiny-lora", tiny_llama.build(folder / "base"))
    lora = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(tiny_llama.model(), lora).save_pretrained(run.adapter, save_embedding_layers=False)
    tiny_llama.tokenizer().save_pretrained(run.adapter)
    return run


def test_transformers_serves_what_is_merged(merged: Run) -> None:
    with served(merged, "--name", "support bot") as server:
        with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
            answer = asked(client, "support bot", max_tokens=5)
            assert answer.model == "support bot"
            assert answer.usage.completion_tokens <= 5
            chunks = list(asked(client, "support bot", max_tokens=5, stream=True))
            assert {chunk.model for chunk in chunks} == {"support bot"}
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
                answer.choices[0].message.content or ""
            )
            assert [one.id for one in client.models.list()] == ["support bot"]
            with pytest.raises(openai.NotFoundError, match="Only support bot is served"):
                asked(client, "HuggingFaceTB/SmolLM2-135M")
        assert httpx.post(server.base_url.replace("/v1", "/load_model"), json={"model": "x"}).status_code == 404
        code, rest = server.end(signal.SIGINT)
    assert code == 0
    assert rest.splitlines()[-1] == "Ended."
    assert merged.merged.is_dir()


@pytest.mark.usefixtures("merged")
def test_a_port_that_is_taken_is_said_in_a_line(merged: Run) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            command(merged, "--port", str(port)), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert f"127.0.0.1:{port}" in line
    assert "--port takes another" in line
