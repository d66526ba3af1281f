"""Every way in which a training at a provider goes wrong: one line, and a run that can be gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from finetune import hosted
from finetune.errors import FinetuneError
from finetune.hosting.pace import Silent
from finetune.hosting.provider import Provider
from finetune.hosting.state import State
from finetune.run import Run, runs
from tests.e2e.finetune.hosted_run import FILES, JOBS, PACE, RUN, fails, train, write_dataset
from tests.finetune_provider import FinetuneProvider


@pytest.fixture
def provider() -> Iterator[FinetuneProvider]:
    with FinetuneProvider() as server:
        yield server


@pytest.fixture(autouse=True)
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset")


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where matplotlib is not installed: a plot takes longer than all the rest."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_wrong_key(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.keys = ["sk-right"]
    line = fails(tmp_path, provider, api_key="sk-wrong")
    assert "does not accept the key" in line
    assert "sk-" not in line
    assert runs(tmp_path / "runs") == []


def test_a_key_that_is_taken_back_in_the_middle(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.stops_at = "running"
    train(tmp_path, provider.base_url, detach=True)
    provider.knobs.keys, provider.knobs.stops_at = ["sk-new"], ""
    assert "does not accept the key" in fails(tmp_path, provider)
    assert Run.open(tmp_path / "runs" / RUN).file.state == "interrupted"
    assert train(tmp_path, provider.base_url, api_key="sk-new").file.state == "finished"
    assert (len(provider.made()), len(provider.jobs)) == (2, 1)


def test_no_quota(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.no_quota = True
    assert "no quota left" in fails(tmp_path, provider)
    assert len(provider.bodies) == 1, "it is not asked again"
    provider.knobs.no_quota = False
    assert train(tmp_path, provider.base_url).file.state == "finished"
    assert (len(provider.made()), len(provider.jobs)) == (2, 1)


def test_nobody_there(provider: FinetuneProvider, tmp_path: Path) -> None:
    line = "127.0.0.1:9 does not answer (ConnectError)."
    with pytest.raises(FinetuneError) as caught:
        train(tmp_path, "http://127.0.0.1:9/v1", msgspec.structs.replace(PACE, start_patience_s=0.1))
    assert str(caught.value) == line


def test_nobody_there_any_more(provider: FinetuneProvider, tmp_path: Path) -> None:
    """Whoever comes back to a run does not wait longer than at its beginning."""
    train(tmp_path, provider.base_url, detach=True)
    provider.knobs.faults = {"GET /v1/fine_tuning/jobs/*": ["503"] * 100}
    impatient = msgspec.structs.replace(PACE, start_patience_s=0.1, patience_s=60.0)
    with pytest.raises(FinetuneError, match="answers 503"):
        train(tmp_path, provider.base_url, impatient)


def test_a_key_is_never_repeated(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.refuses = ["method"]
    provider.knobs.refusal = "Not for sk-very-secret: {}"
    assert "sk-very-secret" not in fails(tmp_path, provider, objective="dpo", api_key="sk-very-secret")
    assert "sk-very-secret" not in (tmp_path / "runs" / RUN / "run.json").read_text()


def test_something_else_there(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.faults = {"GET /v1/models": ["page"]}
    assert "not as OpenAI's API does" in fails(tmp_path, provider)
    provider.knobs.faults = {JOBS: ["page"]}
    assert "not as OpenAI's API does" in fails(tmp_path, provider)
    assert train(tmp_path, provider.base_url).file.state == "finished"
    assert len(provider.jobs) == 1, "the strange answer was to a request that was done"


def test_a_failed_job_and_another_one(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.fail_with = "The server had\nan error."
    line = fails(tmp_path, provider)
    assert "failed: The server had an error." in line
    assert "--again" in line
    assert Run.open(tmp_path / "runs" / RUN).file.state == "failed"
    provider.knobs.fail_with, provider.knobs.steps = "", 2
    assert "--again" in fails(tmp_path, provider)
    assert len(provider.jobs) == 1, "not begun by the way: it costs"
    run = train(tmp_path, provider.base_url, again=True)
    assert (run.file.state, run.file.error) == ("finished", "")
    assert (len(provider.made()), len(provider.jobs)) == (2, 2)
    assert State.open(run.folder).hosted.job.attempt == 2
    assert [line["step"] for line in map(json.loads, run.log.read_text().splitlines())] == [1, 2]


def test_another_job_after_its_files_were_deleted(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.fail_with = "No."
    fails(tmp_path, provider)
    there = Provider(provider.base_url, "sk-a", PACE)
    assert hosted.delete_files(Run.open(tmp_path / "runs" / RUN), there) == 2
    there.close()
    provider.knobs.fail_with = ""
    run = train(tmp_path, provider.base_url, again=True)
    assert run.file.state == "finished"
    assert {file.id for file in provider.made()} == {one.id for one in State.open(run.folder).hosted.files.values()}


def test_files_whose_answer_was_lost_are_deleted_too(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.faults = {FILES: ["cut after"], "GET /v1/files": ["403", "403"]}
    assert "refuses (403)" in fails(tmp_path, provider)
    assert len(provider.made()) == 1
    there = Provider(provider.base_url, "sk-a", PACE)
    provider.knobs.faults = {}
    assert hosted.delete_files(Run.open(tmp_path / "runs" / RUN), there) == 1
    assert provider.made() == []
    assert train(tmp_path, provider.base_url).file.state == "finished"
    there.close()


def test_files_are_not_deleted_while_a_job_may_need_them(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.faults = {JOBS: ["cut after"], "GET /v1/fine_tuning/jobs": ["403"]}
    assert "refuses (403)" in fails(tmp_path, provider)
    there = Provider(provider.base_url, "sk-a", PACE)
    with pytest.raises(FinetuneError, match="There may be a job"):
        hosted.delete_files(Run.open(tmp_path / "runs" / RUN), there)
    there.close()
    assert train(tmp_path, provider.base_url).file.state == "finished"
    assert (len(provider.made()), len(provider.jobs)) == (2, 1)


def test_another_job_is_not_taken_for_the_one_before(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.ignores = ["metadata"]
    provider.knobs.fail_with = "No."
    fails(tmp_path, provider)
    provider.knobs.fail_with = ""
    provider.knobs.faults = {JOBS: ["cut before"]}
    assert train(tmp_path, provider.base_url, again=True).file.state == "finished"
    assert len(provider.jobs) == 2


def test_a_file_that_the_provider_does_not_like(provider: FinetuneProvider, tmp_path: Path) -> None:
    provider.knobs.stops_at = "validating_files"
    train(tmp_path, provider.base_url, detach=True)
    (job,) = provider.jobs.values()
    job.lines[3]["messages"][0]["content"] = "bomb"
    provider.knobs.stops_at = ""
    assert "failed: Unsafe content." in fails(tmp_path, provider)


def test_cancelled_elsewhere(provider: FinetuneProvider, tmp_path: Path) -> None:
    train(tmp_path, provider.base_url, detach=True)
    (job,) = provider.jobs.values()
    job.enter("cancelled")
    assert "was cancelled." in fails(tmp_path, provider)
    run = Run.open(tmp_path / "runs" / RUN)
    assert run.file.state == "cancelled"
    assert not (Path(run.file.dataset.folder) / "trained.jsonl").exists(), "it had not begun to learn"


def test_a_job_that_is_gone(provider: FinetuneProvider, tmp_path: Path) -> None:
    train(tmp_path, provider.base_url, detach=True)
    provider.jobs.clear()
    assert "refuses (404): Could not find" in fails(tmp_path, provider)


def test_what_the_provider_refuses(provider: FinetuneProvider, tmp_path: Path) -> None:
    assert "n_epochs is not between 1 and 50" in fails(tmp_path, provider, n_epochs=51)
    assert not provider.jobs


def test_the_run_is_of_the_same_choices(provider: FinetuneProvider, tmp_path: Path, dataset: Path) -> None:
    train(tmp_path, provider.base_url, detach=True)
    assert "another n_epochs" in fails(tmp_path, provider, n_epochs=2)
    manifest = json.loads((dataset / "manifest.json").read_text())
    (dataset / "manifest.json").write_text(json.dumps(manifest | {"labels": {"good": 1}}))
    assert "dataset was changed" in fails(tmp_path, provider)


def test_a_run_that_cannot_be_written_is_looked_at_all_the_same(provider: FinetuneProvider, tmp_path: Path) -> None:
    run = train(tmp_path, provider.base_url, detach=True)
    (run.folder / ".lock").unlink()
    (run.folder / ".lock").mkdir()  # Whoever runs tests as root may write everywhere else.
    assert ".lock cannot be written: Is a directory." in fails(tmp_path, provider)
    there = Provider(provider.base_url, "sk-a", PACE)
    assert hosted.refresh(run, there, Silent()).hosted.job.status == "queued"
    there.close()


def test_a_dataset_that_cannot_be_written(provider: FinetuneProvider, tmp_path: Path, dataset: Path) -> None:
    (dataset / "trained.jsonl").mkdir()
    line = fails(tmp_path, provider, delete=True)
    run = Run.open(tmp_path / "runs" / RUN)
    assert line.startswith(f"{run.file.model} is there, but not noted in its dataset: ")
    assert (run.file.state, provider.made()) == ("finished", []), "all else is done"
    (dataset / "trained.jsonl").rmdir()
    train(tmp_path, provider.base_url)
    assert json.loads((dataset / "trained.jsonl").read_text())["adapter"] == run.file.model


def test_a_dataset_that_is_half_written_or_gone(provider: FinetuneProvider, tmp_path: Path, dataset: Path) -> None:
    (dataset / "trained.jsonl").write_text('{"run": "before", "ada\n[]\n')
    run = train(tmp_path, provider.base_url)
    assert json.loads((dataset / "trained.jsonl").read_text().splitlines()[-1])["adapter"] == run.file.model
    (dataset / "manifest.json").unlink()
    there = Provider(provider.base_url, "sk-a", PACE)
    assert hosted.watch(run, there, Silent()).file.error == ""
    there.close()


def test_a_file_that_changes_before_it_is_sent(provider: FinetuneProvider, tmp_path: Path, dataset: Path) -> None:
    provider.knobs.faults = {FILES: ["400"]}
    fails(tmp_path, provider)
    with (dataset / "train.jsonl").open("a") as file:
        file.write("{}\n")
    assert "was changed since the run began" in fails(tmp_path, provider)
    assert provider.made() == []
