"""A small dataset, and a training on it at a provider as a process of its own that can be killed at any moment.

The processes are forked from one that has imported everything, so that a start takes milliseconds. What a process
comes to is in `FOLDER/outcome-N`: `finished`, or the line of the error.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from datetime import UTC, date, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import openai.resources.files
import openai.resources.fine_tuning.jobs
import openai.resources.models
import pytest

from finetune import hosted
from finetune.errors import FinetuneError
from finetune.hosting.pace import Pace, Silent
from finetune.hosting.pricing import Rate
from finetune.hosting.provider import Provider
from finetune.run import Run
from tests.finetune_provider import FinetuneProvider

IMPORTED = (openai.resources.files, openai.resources.fine_tuning.jobs, openai.resources.models)
"""What is otherwise imported when it is first needed, by each process anew."""
TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PACE = Pace(poll_s=0.005, poll_max_s=0.02, timeout_s=60.0, start_patience_s=60.0, patience_s=60.0, settle_s=0.1)
RUN = "support"
JOBS = "POST /v1/fine_tuning/jobs"
FILES = "POST /v1/files"


def conversation(number: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"Where is parcel {number}?"}
    return {"messages": [question, {"role": "assistant", "content": f"Parcel {number} is on its way."}]}


def preference(number: int) -> dict[str, Any]:
    asked, better = conversation(number)["messages"]
    return {
        "input": {"messages": [asked]},
        "preferred_output": [better],
        "non_preferred_output": [{"role": "assistant", "content": "I do not know."}],
    }


def write_dataset(folder: Path, *, train: int = 12, validation: int = 3) -> Path:
    """A folder as `penstock dataset build` leaves it, as far as trainers look."""
    folder.mkdir(parents=True)
    files = {
        "train.jsonl": [conversation(number) for number in range(train)],
        "validation.jsonl": [conversation(1000 + number) for number in range(validation)],
        "preferences.train.jsonl": [preference(number) for number in range(train)],
    }
    named = []
    for name, lines in files.items():
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        (folder / name).write_bytes(content)
        named.append({"path": name, "sha256": hashlib.sha256(content).hexdigest(), "lines": len(lines)})
    splits = {"train": {"examples": train}, "validation": {"examples": validation}}
    manifest = {"name": "support", "splits": splits, "files": named, "options": {"write": {"prune": ["You are"]}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def options(folder: Path, **more: Any) -> hosted.HostedOptions:
    return hosted.HostedOptions(**{"dataset": folder / "dataset", "model": "trainable-1", "run": RUN, **more})


def train(folder: Path, base_url: str, pace: Pace = PACE, **more: Any) -> Run:
    """What the command does, with everything agreed to. Goes on with a run that there is."""
    chosen = {name: more.pop(name) for name in ("again", "detach", "delete") if name in more}
    provider = Provider(base_url, more.pop("api_key", "sk-a"), pace)
    wanted = options(folder, **more)
    try:
        run = hosted.existing(wanted, folder / "runs")
        if run is None:
            rate = Rate(usd_a_million=3.0, as_of="2025")
            plan = hosted.plan(wanted, provider, Silent(), count=len, rate=rate, today=TODAY)
            run = hosted.begin(plan, folder / "runs", provider, api_key="", at=NOW)
        return hosted.go_on(run, provider, Silent(), **chosen)
    finally:
        provider.close()


def fails(folder: Path, provider: FinetuneProvider, **more: Any) -> str:
    """The one line of what went wrong."""
    with pytest.raises(FinetuneError) as caught:
        train(folder, provider.base_url, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _process(folder: Path, base_url: str, outcome: Path, pace: Pace, die_at_rename: int) -> None:
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # a plot takes longer than all the rest
    if die_at_rename >= 0:
        sys.addaudithook(functools.partial(_die, [die_at_rename], str(folder / "runs")))
    try:
        text = train(folder, base_url, pace).file.state
    except FinetuneError as error:
        text = str(error)
    outcome.write_text(text)


def _die(left: list[int], below: str, event: str, arguments: tuple[Any, ...]) -> None:
    """At the rename of this number of a file that a run is kept in, before it is done."""
    if event == "os.rename" and str(arguments[0]).startswith(below):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def started(folder: Path, base_url: str, outcome: Path, pace: Pace = PACE, *, die_at_rename: int = -1) -> BaseProcess:
    """A process that trains."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.e2e.finetune.hosted_run"])
    process = context.Process(target=_process, args=(folder, base_url, outcome, pace, die_at_rename), daemon=True)
    process.start()
    return process
