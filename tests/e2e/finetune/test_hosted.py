"""A training at a provider from its files to its model, whatever the provider is like."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetune import hosted
from finetune.errors import FinetuneError
from finetune.hosting.pace import Silent
from finetune.hosting.provider import Provider
from finetune.hosting.state import State
from finetune.run import Run
from tests.e2e.finetune.hosted_run import FILES, JOBS, NOW, PACE, TODAY, fails, options, train, write_dataset
from tests.finetune_provider import FinetuneProvider


@pytest.fixture
def provider() -> Iterator[FinetuneProvider]:
    with FinetuneProvider() as server:
        yield server


@pytest.fixture(autouse=True)
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset")


@pytest.fixture(autouse=True)
def without_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where matplotlib is not installed: a plot takes longer than all the rest."""
    if "plot" not in request.node.name:
        monkeypatch.setitem(sys.modules, "matplotlib", None)


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def job_shown(provider: FinetuneProvider) -> dict[str, Any]:
    (job,) = provider.jobs.values()
    return job.shown


def test_from_the_files_to_the_model_and_a_plot(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(
        tmp_path, provider.base_url, n_epochs=2, batch_size=4, learning_rate_multiplier=0.5, suffix="support", seed=5,
        wandb_project="house", wandb_entity="us",
    )  # fmt: skip
    file = Run.open(run.folder).file
    shown = job_shown(provider)
    assert (file.state, file.method, file.base, file.seed, file.steps) == ("finished", "hosted", "trainable-1", 5, 6)
    assert file.model == shown["fine_tuned_model"]
    assert file.loss == {"train": 0.5, "validation": pytest.approx(4 / 6, abs=1e-4)}
    assert file.prune == ("You are",)
    (body,) = provider.bodies
    asked = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert body["method"] == {"type": "supervised", "supervised": {"hyperparameters": asked}}
    assert (body["hyperparameters"], body["suffix"], body["seed"]) == (asked, "support", 5)
    assert body["integrations"][0]["wandb"] == {"project": "house", "entity": "us", "tags": ["penstock"]}
    contents = {file.id: file.content for file in provider.made()}
    assert contents[body["training_file"]] == (tmp_path / "dataset" / "train.jsonl").read_bytes()
    assert contents[body["validation_file"]] == (tmp_path / "dataset" / "validation.jsonl").read_bytes()
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["epoch"] == 2.0
    assert run.plot.read_bytes().startswith(b"\x89PNG")
    assert file.model in run.card.read_text()
    assert "sk-a" not in "".join(path.read_text(errors="replace") for path in run.folder.iterdir())


def test_preferences_are_trained_on_with_dpo(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, objective="dpo", beta=0.2)
    (body,) = provider.bodies
    assert body["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}}
    assert "hyperparameters" not in body
    assert "validation_file" not in body, "there are no preferences in the validation split"
    assert (run.file.objective, run.file.state) == ("dpo", "finished")


@pytest.mark.parametrize(
    ("refuses", "left"),
    [
        (["method"], {"hyperparameters"}),
        (["hyperparameters"], {"method"}),
        (["metadata", "method"], {"hyperparameters"}),
    ],
)
def test_a_server_that_knows_fewer_fields(
    provider: FinetuneProvider, tmp_path: Path, refuses: list[str], left: set[str]
) -> None:
    provider.knobs.refuses = refuses
    run = train(tmp_path, provider.base_url, n_epochs=2)
    assert (run.file.state, run.file.seed) == ("finished", 7), "the seed that the provider made"
    assert provider.bodies[-1].keys() & {"method", "hyperparameters"} == left
    assert job_shown(provider)["hyperparameters"]["n_epochs"] == 2


def test_what_a_server_leaves_out_without_a_word_is_told(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.ignores = ["method", "hyperparameters"]
    told = Told()
    there = Provider(provider.base_url, "sk-a", PACE)
    plan = hosted.plan(options(tmp_path, n_epochs=2), there, Silent(), count=len, rate=None, today=TODAY)
    run = hosted.begin(plan, tmp_path / "runs", there, api_key="", at=NOW)
    hosted.go_on(run, there, told)
    there.close()
    assert "The provider took n_epochs 3 instead of 2." in told.lines
    assert told.lines.count("The job is running") == 1, "an event is told once"
    assert any(line.startswith("matplotlib is not installed, so the loss is not drawn") for line in told.lines)


@pytest.mark.parametrize("request_name", [FILES, JOBS])
@pytest.mark.parametrize("fault", ["cut before", "cut after", "500 after", "429", "503", "late"])
def test_no_fault_makes_anything_twice(
    provider: FinetuneProvider, tmp_path: Path, request_name: str, fault: str
) -> None:
    provider.knobs.faults = {request_name: [fault]}
    provider.knobs.late_s, provider.knobs.steps = 0.6, 2
    # Whoever does not wait long for an answer looks for what it asked for until it is there.
    pace = msgspec.structs.replace(PACE, timeout_s=0.3, settle_s=60.0) if fault == "late" else PACE
    assert train(tmp_path, provider.base_url, pace).file.state == "finished"
    assert (len(provider.made()), len(provider.jobs)) == (2, 1)
    assert not provider.knobs.faults[request_name]


@pytest.mark.parametrize("request_name", [FILES, JOBS])
@pytest.mark.parametrize("back_s", [0.0, 3600.0])
def test_what_is_done_after_the_answer_was_given_up_is_waited_for(
    provider: FinetuneProvider, tmp_path: Path, request_name: str, back_s: float
) -> None:
    """Also when the wait for the answer was longer than lists take, and the clock is set back meanwhile."""
    provider.knobs.faults = {request_name: ["given up"]}
    provider.knobs.steps = 2
    given_up: list[str] = []
    looks = 0

    def clock() -> float:
        """Nobody answered for ten minutes."""
        waited_s = 600.0 if provider.held.is_set() else 0.0
        return time.time() + waited_s - (back_s if given_up else 0.0)

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += bool(given_up)
        if looks == 3:
            provider.release()
        time.sleep(seconds)

    pace = msgspec.structs.replace(PACE, settle_s=60.0)
    there = Provider(provider.base_url, "sk-a", pace, note=given_up.append, clock=clock, sleep=sleep)
    plan = hosted.plan(options(tmp_path), there, Silent(), count=len, rate=None, today=TODAY)
    run = hosted.begin(plan, tmp_path / "runs", there, api_key="", at=NOW)
    assert hosted.go_on(run, there, Silent()).file.state == "finished"
    there.close()
    assert len(given_up) == 1
    assert looks >= 3
    deadline = time.monotonic() + 60
    while provider.at_work and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (len(provider.made()), len(provider.jobs)) == (2, 1)


def test_the_same_file_of_another_run_is_left_to_it(provider: FinetuneProvider, tmp_path: Path) -> None:
    train(tmp_path, provider.base_url)
    provider.knobs.faults = {FILES: ["cut before"]}
    run = train(tmp_path, provider.base_url, run="second")
    mine = {upload.id for upload in State.open(run.folder).hosted.files.values()}
    assert (len(provider.made()), len(provider.jobs), len(mine)) == (4, 2, 2)
    assert mine == {file.id for file in provider.made() if "-second-" in file.filename}


def test_a_list_that_lags_behind_makes_nothing_twice(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.faults = {FILES: ["cut after"]}
    provider.knobs.list_lag_s = 0.3
    assert train(tmp_path, provider.base_url, msgspec.structs.replace(PACE, settle_s=2.0)).file.state == "finished"
    assert len(provider.made()) == 2


@pytest.mark.parametrize("name", ["GET /v1/fine_tuning/jobs/*", "GET /v1/fine_tuning/jobs/*/events", "GET /v1/models"])
def test_what_is_only_looked_at_is_asked_again(provider: FinetuneProvider, tmp_path: Path, name: str) -> None:
    provider.knobs.faults = {name: ["500", "cut before", "429", "cut after"]}
    assert train(tmp_path, provider.base_url).file.state == "finished"


def test_a_server_of_words_alone(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.says_metrics = provider.knobs.has_results = provider.knobs.has_models = False
    run = train(tmp_path, provider.base_url)
    assert (run.file.state, run.file.steps) == ("finished", 6)
    assert run.file.loss == {"train": 0.5}


def test_a_server_that_names_the_model_a_moment_later(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.says_late = True
    run = train(tmp_path, provider.base_url)
    assert run.file.model == job_shown(provider)["fine_tuned_model"]
    assert run.file.loss.keys() == {"train", "validation"}


def test_plain_results(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.encodes_results = False
    assert train(tmp_path, provider.base_url).file.loss.keys() == {"train", "validation"}


def test_a_model_that_is_soon_gone(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.models["trainable-1"] = {"shutdown_date": "2027-01-14"}
    there = Provider(provider.base_url, "sk-a", PACE)
    plan = hosted.plan(options(tmp_path), there, Silent(), count=len, rate=None, today=TODAY)
    there.close()
    assert "stop on 2027-01-14, in 52 days. Train locally: penstock finetune lora support" in plan.objection
    assert plan.price.usd is None
    assert provider.made() == []


def test_uploaded_files_are_deleted_when_it_is_wished(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, delete=True)
    assert provider.made() == []
    assert len(provider.deleted) == 2
    assert provider.made("fine-tune-results"), "only what was uploaded"
    there = Provider(provider.base_url, "sk-a", PACE)
    assert hosted.delete_files(run, there) == 0
    there.close()


def test_files_are_not_deleted_while_they_are_needed(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, detach=True)
    there = Provider(provider.base_url, "sk-a", PACE)
    with pytest.raises(FinetuneError, match="needs its files"):
        hosted.delete_files(run, there)
    hosted.watch(run, there, Silent())
    assert hosted.delete_files(run, there) == 2
    there.close()


def test_two_processes_do_not_work_on_one_run(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, detach=True)
    with run.held():
        assert "Another process works on the run" in fails(tmp_path, provider)
        there = Provider(provider.base_url, "sk-a", PACE)
        assert hosted.refresh(run, there, Silent()).hosted.job.status == "queued"
        there.close()


@pytest.mark.parametrize("fault", ["cut after", "500 after"])
def test_a_change_is_made_once_when_its_answer_is_lost(provider: FinetuneProvider, tmp_path: Path, fault: str) -> None:
    run = train(tmp_path, provider.base_url, detach=True)
    there = Provider(provider.base_url, "sk-a", PACE)
    job = hosted.job_of(run).id
    for what, change, status in (
        ("pause", there.pause, "paused"),
        ("resume", there.resume, "running"),
        ("cancel", there.cancel, "cancelled"),
    ):
        provider.knobs.faults = {f"{JOBS}/*/{what}": [fault]}
        assert change(job).status == status
    with pytest.raises(FinetuneError, match="The job is cancelled already"):
        there.resume(job)
    there.close()


def test_who_watches_a_paused_job_is_told_how_it_goes_on(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, detach=True)
    told, short = Told(), msgspec.structs.replace(PACE, watch_max_s=0.1)
    there = Provider(provider.base_url, "sk-a", short)
    there.pause(hosted.job_of(run).id)
    hosted.refresh(run, there, Silent())
    with pytest.raises(FinetuneError, match="is paused and is not waited for any longer"):
        hosted.watch(run, there, told)
    there.close()
    assert told.lines == ["It is paused, and goes on with: penstock finetune resume support"]


def test_what_is_known_is_looked_up(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, detach=True)
    there = Provider(provider.base_url, "sk-a", PACE)
    for status in ("queued", "running"):
        assert hosted.refresh(run, there, Silent()).hosted.job.status == status
    there.pause(hosted.job_of(run).id)
    assert hosted.refresh(run, there, Silent()).hosted.job.status == "paused"
    there.resume(hosted.job_of(run).id)
    assert hosted.refresh(run, there, Silent()).hosted.job.steps == 2
    assert [one.step_number for one in there.checkpoints(hosted.job_of(run).id)] == [2]
    there.cancel(hosted.job_of(run).id)
    assert hosted.refresh(run, there, Silent()).hosted.job.status == "cancelled"
    run = Run.open(run.folder)
    assert run.file.state == "cancelled"
    (noted,) = (Path(run.file.dataset.folder) / "trained.jsonl").read_text().splitlines()
    assert json.loads(noted)["adapter"] == hosted.job_of(run).id, "the provider keeps its checkpoint"
    there.close()
