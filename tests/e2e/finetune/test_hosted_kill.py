"""A training at a provider is killed between every two of its steps, and goes on: nothing is sent or begun twice."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import pytest

from finetune.hosting.state import State
from finetune.run import Run
from tests.e2e.finetune.hosted_run import PACE, RUN, started, train, write_dataset
from tests.finetune_provider import FinetuneProvider, When

STEPS = 2
REQUESTS = 14
"""Of a training that nothing happens to: models, two files, a job, four looks at it of two each, its results of two."""
ENDS_WITHIN_S = 60.0
PATIENT = msgspec.structs.replace(PACE, settle_s=ENDS_WITHIN_S)
"""Where what was asked for is surely done in the end, nobody waits so long."""


@pytest.fixture
def provider() -> Iterator[FinetuneProvider]:
    with FinetuneProvider() as server:
        server.knobs.steps = STEPS
        yield server


def ended(process: BaseProcess) -> int | None:
    process.join(ENDS_WITHIN_S)
    return process.exitcode


def check_made_once(provider: FinetuneProvider, folder: Path) -> None:
    run = Run.open(folder / "runs" / RUN)
    hosted = State.open(run.folder).hosted
    files = provider.made()
    assert Counter(file.filename for file in files) == {upload.name: 1 for upload in hosted.files.values()}
    assert {file.id for file in files} == {upload.id for upload in hosted.files.values()}
    assert [*provider.jobs] == [hosted.job.id]
    (job,) = provider.jobs.values()
    assert (run.file.state, run.file.model) == ("finished", job.shown["fine_tuned_model"])
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[-1]["eval_loss"] == 2.0
    (noted,) = [json.loads(line) for line in (folder / "dataset" / "trained.jsonl").read_text().splitlines()]
    assert (noted["run"], noted["adapter"]) == (RUN, run.file.model)


def test_a_training_asks_so_often(provider: FinetuneProvider, tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset")
    train(tmp_path, provider.base_url)
    assert len(provider.asked) == REQUESTS
    check_made_once(provider, tmp_path)
    train(tmp_path, provider.base_url)
    assert len(provider.asked) == REQUESTS, "what is finished asks nobody"
    check_made_once(provider, tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(REQUESTS))
def test_killed_while_a_request_is_at_work(provider: FinetuneProvider, tmp_path: Path, number: int, when: When) -> None:
    """`before`: what it asks for is done only while the next process already looks for it."""
    write_dataset(tmp_path / "dataset")
    provider.hold_at(number, when)
    first = started(tmp_path, provider.base_url, tmp_path / "outcome-1")
    assert provider.held.wait(ENDS_WITHIN_S)
    first.kill()
    assert ended(first) == -signal.SIGKILL
    asked = len(provider.asked)
    second = started(tmp_path, provider.base_url, tmp_path / "outcome-2", PATIENT)
    deadline = time.monotonic() + ENDS_WITHIN_S
    while len(provider.asked) == asked and time.monotonic() < deadline:
        time.sleep(0.002)
    provider.release()
    assert ended(second) == 0
    assert (tmp_path / "outcome-2").read_text() == "finished"
    check_made_once(provider, tmp_path)


def test_killed_before_every_write(tmp_path: Path) -> None:
    """Every file of a run is written by a rename: at each of them, and so before and after every other step."""
    for number in range(60):
        folder = tmp_path / str(number)
        write_dataset(folder / "dataset")
        with FinetuneProvider() as provider:
            provider.knobs.steps = STEPS
            first = started(folder, provider.base_url, folder / "outcome-1", die_at_rename=number)
            died = ended(first) == -signal.SIGKILL
            if died:
                assert train(folder, provider.base_url).file.state == "finished"
            check_made_once(provider, folder)
        if not died:
            break
    assert 10 < number < 60
