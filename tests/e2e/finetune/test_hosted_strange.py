"""Providers that answer with what the API does not know, in fields that a training does not need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from finetune.hosting.state import State
from tests.e2e.finetune.hosted_run import FILES, JOBS, train, write_dataset
from tests.finetune_provider import FinetuneProvider
from tests.finetune_provider_jobs import Job

OF_A_JOB = (
    *("created_at", "finished_at", "estimated_finish", "result_files", "trained_tokens", "seed"),
    *("error", "hyperparameters", "method", "metadata"),
)
OF_AN_EVENT = ("id", "created_at", "message", "level", "type", "data")
STRANGE = (None, "2026-11-23T12:00:00Z", [], [1], {}, {"supervised": "x"}, -1, 1e30, 1.7e12, True, 2**70)
"""Among them times in words and in milliseconds, and none."""


@pytest.fixture
def provider() -> Iterator[FinetuneProvider]:
    with FinetuneProvider() as server:
        server.knobs.steps = 2
        yield server


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize("value", STRANGE)
def test_what_is_not_needed_may_be_anything(
    provider: FinetuneProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    look, say = Job.look, Job.say

    def look_strangely(job: Job, files: Any) -> None:
        job.shown["method"] = {"type": "supervised"}
        look(job, files)
        job.shown.update(dict.fromkeys(OF_A_JOB, value))

    def say_strangely(job: Job, *told: Any, **more: Any) -> None:
        say(job, *told, **more)
        job.events[-1].update(dict.fromkeys(OF_AN_EVENT, value))

    monkeypatch.setattr(Job, "look", look_strangely)
    monkeypatch.setattr(Job, "say", say_strangely)
    write_dataset(tmp_path / "dataset")
    run = train(tmp_path, provider.base_url)
    (job,) = provider.jobs.values()
    assert (run.file.state, run.file.model) == ("finished", job.shown["fine_tuned_model"])
    assert datetime.fromisoformat(run.file.ended)
    assert State.open(run.folder).hosted.job.fine_tuned_model == run.file.model, "what was kept can be read again"


def test_a_provider_without_events(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.faults = {"GET /v1/fine_tuning/jobs/*/events": ["404"] * 100}
    write_dataset(tmp_path / "dataset")
    run = train(tmp_path, provider.base_url)
    assert (run.file.state, run.file.steps) == ("finished", 2), "the results say what events did not"


def test_lists_that_give_their_first_page_again_and_again(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.pages_of, provider.knobs.steps = 2, 6
    provider.knobs.faults = {FILES: ["cut after"], JOBS: ["cut after"]}
    write_dataset(tmp_path / "dataset")
    run = train(tmp_path, provider.base_url)
    assert (run.file.state, run.file.steps) == ("finished", 6)
    assert len(provider.asked) < 60
