"""The files and jobs of `finetune_provider.py`: what is taken, and what becomes of it."""

from __future__ import annotations

import base64
import itertools
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from .batch_provider_replies import error

Json = dict[str, Any]
_numbers: Final = itertools.count()


class Refused(Exception):
    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error(message, kind, param=param, code=code)


@dataclass
class Knobs:
    """What this provider is like, and what goes wrong. Set at any time."""

    keys: list[str] = field(default_factory=list)
    """Accepted API keys; none: all are."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """By request, what happens to the next ones: `cut before` and `cut after` it was done, a status before it is, `500
    after`, `late` for a wait after it, `given up` where it is cut and done when `release` is called, `page` (one of
    HTML), or "" for none."""
    late_s: float = 1.0
    list_lag_s: float = 0.0
    """How long a new file is missing from the list."""
    has_models: bool = True
    refuses: list[str] = field(default_factory=list)
    """Fields of a job that it does not know."""
    refusal: str = "Unrecognized request argument supplied: {}"
    ignores: list[str] = field(default_factory=list)
    """Fields of a job that it leaves out without a word."""
    no_quota: bool = False
    steps: int = 6
    fail_with: str = ""
    """Why the next jobs fail, in the middle."""
    encodes_results: bool = True
    has_results: bool = True
    says_metrics: bool = True
    """Events have data; else only words."""
    says_late: bool = False
    """What the model is called and where the results are is said one look after the job succeeded."""
    pages_of: int = 0
    """Lists have no other page than the first, of so many, and do not say that it is the last; 0: as OpenAI's are."""
    stops_at: str = ""
    """A state that jobs do not leave by themselves."""


@dataclass
class File:
    id: str
    filename: str
    purpose: str
    content: bytes
    created: float

    def is_listed(self, knobs: Knobs) -> bool:
        return time.time() - self.created >= knobs.list_lag_s

    def shown(self) -> Json:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": int(self.created),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


def new_file(name: str, content: bytes, purpose: str) -> File:
    return File(f"file-{uuid.uuid4().hex[:24]}", name, purpose, content, time.time())


def judged_body(body: Json, knobs: Knobs, models: dict[str, Json], files: dict[str, File]) -> None:
    """Raises `Refused`."""
    for name in knobs.refuses:
        if name in body:
            raise Refused(400, knobs.refusal.format(name), param=name)
    for name in knobs.ignores:
        body.pop(name, None)
    if body.get("model") not in models:
        raise Refused(400, f"Model {body.get('model')} is not available for fine-tuning.", code="model_not_available")
    for name in ("training_file", "validation_file"):
        file = files.get(body.get(name) or "")
        if (name == "training_file" or body.get(name)) and (file is None or file.purpose != "fine-tune"):
            raise Refused(400, f"{name} does not exist.", param=name, code="invalid_file")
    method = body.get("method") or {"type": "supervised"}
    asked = (method.get(method["type"]) or {}).get("hyperparameters") or {}
    if isinstance(epochs := asked.get("n_epochs", 1), int) and not 1 <= epochs <= 50:
        raise Refused(
            400, "n_epochs is not between 1 and 50", param=f"method.{method['type']}.hyperparameters.n_epochs"
        )


@dataclass
class Job:
    """Every look takes it one state or two steps further."""

    id: str
    shown: Json
    knobs: Knobs
    lines: list[Json]
    """Of the training file."""
    events: list[Json] = field(default_factory=list)
    checkpoints: list[Json] = field(default_factory=list)
    step: int = 0
    withheld: Json = field(default_factory=dict)

    def enter(self, status: str) -> None:
        self.shown["status"] = status
        self.say(f"The job is {status}")
        if status in ("succeeded", "failed", "cancelled"):
            self.shown["finished_at"] = int(time.time())

    def look(self, files: dict[str, File]) -> None:
        status = self.shown["status"]
        self.shown.update(self.withheld)
        if status == self.knobs.stops_at or status in ("succeeded", "failed", "cancelled", "paused"):
            return
        if status == "validating_files":
            if wrong := wrong_lines(self.lines, self.shown["method"]["type"]):
                self.shown["error"] = {"code": "invalid_training_file", "message": wrong, "param": "training_file"}
                self.enter("failed")
            else:
                self.enter("queued")
        elif status == "queued":
            self.enter("running")
        elif self.step < self.knobs.steps:
            self._train()
        else:
            self._succeed(files)

    def say(self, message: str, data: Json | None = None, kind: str = "message") -> None:
        told = {
            "object": "fine_tuning.job.event",
            "level": "info",
            "message": message,
            "type": kind,
            "data": data or {},
        }
        self.events.append({"id": f"ftevent-{next(_numbers)}", "created_at": int(time.time()), **told})

    def _train(self) -> None:
        for step in range(self.step + 1, min(self.step + 2, self.knobs.steps) + 1):
            self.step = step
            total, loss = self.knobs.steps, round(3.0 / self.step, 4)
            data = {"step": self.step, "total_steps": total, "train_loss": loss, "train_mean_token_accuracy": 0.5}
            told = data if self.knobs.says_metrics else None
            self.say(f"Step {self.step}/{total}: training loss={loss:.2f}", told, "metrics" if told else "message")
        name = f"ft:{self.shown['model']}:tests::{self.id[-6:]}"
        self.checkpoints.append(
            {
                "id": f"ftckpt-{next(_numbers)}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": int(time.time()),
                "fine_tuning_job_id": self.id,
                "fine_tuned_model_checkpoint": f"{name}:ckpt-step-{self.step}",
                "step_number": self.step,
                "metrics": {"step": self.step, "train_loss": 3.0 / self.step, "full_valid_loss": 4.0 / self.step},
            }
        )
        if self.knobs.fail_with and self.step >= self.knobs.steps // 2:
            self.shown["error"] = {"code": "server_error", "message": self.knobs.fail_with, "param": None}
            self.enter("failed")

    def _succeed(self, files: dict[str, File]) -> None:
        self.shown["fine_tuned_model"] = f"ft:{self.shown['model']}:tests::{self.id[-6:]}"
        self.shown["trained_tokens"] = 10 * len(self.lines)
        if self.knobs.has_results:
            rows = ["step,train_loss,train_accuracy,valid_loss,full_valid_loss"]
            for step in range(1, self.knobs.steps + 1):
                full = f"{4.0 / step:.4f}" if step % 2 == 0 else ""
                rows.append(f"{step},{3.0 / step:.4f},0.5,{5.0 / step:.4f},{full}")
            content = "\n".join(rows).encode()
            content = base64.b64encode(content) if self.knobs.encodes_results else content
            file = new_file("step_metrics.csv", content, "fine-tune-results")
            files[file.id] = file
            self.shown["result_files"] = [file.id]
        if self.knobs.says_late:
            self.withheld = {name: self.shown[name] for name in ("fine_tuned_model", "result_files")}
            self.shown.update(fine_tuned_model=None, result_files=[])
        self.enter("succeeded")


def new_job(body: Json, files: dict[str, File], knobs: Knobs) -> Job:
    job_id = f"ftjob-{uuid.uuid4().hex[:24]}"
    method = body.get("method") or {"type": "supervised"}
    asked = (method.get(method["type"]) or {}).get("hyperparameters") or body.get("hyperparameters") or {}
    chosen = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8} | asked
    shown = {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": int(time.time()),
        "finished_at": None,
        "estimated_finish": None,
        "model": body["model"],
        "fine_tuned_model": None,
        "organization_id": "org-tests",
        "status": "validating_files",
        "training_file": body["training_file"],
        "validation_file": body.get("validation_file"),
        "result_files": [],
        "trained_tokens": None,
        "seed": body.get("seed") or 7,
        "error": {},
        "hyperparameters": chosen,
        "method": {"type": method["type"], method["type"]: {"hyperparameters": chosen}},
        "metadata": body.get("metadata"),
        "integrations": body.get("integrations") or [],
        "user_provided_suffix": body.get("suffix"),
    }
    content = files[body["training_file"]].content
    return Job(job_id, shown, knobs, [json.loads(line) for line in content.splitlines()])


def wrong_lines(lines: list[Json], kind: str) -> str:
    """Why a provider fails a job before it begins."""
    wanted = "messages" if kind == "supervised" else "preferred_output"
    if len(lines) < 10:
        return f"Training file has {len(lines)} example(s), but must have at least 10 examples"
    if any(wanted not in line for line in lines):
        return f"Invalid file format: line without '{wanted}'"
    return "Unsafe content." if any("bomb" in json.dumps(line) for line in lines) else ""


def page(request: web.Request, found: list[Json], limit_max: int, knobs: Knobs) -> web.Response:
    """Newest first, as the lists of the API are."""
    found = found[::-1]
    if knobs.pages_of:
        return web.json_response({"object": "list", "data": found[: knobs.pages_of]})
    if after := request.query.get("after"):
        ids = [one["id"] for one in found]
        found = found[ids.index(after) + 1 :] if after in ids else []
    limit = min(limit_max, int(request.query.get("limit", 20 if limit_max == 100 else limit_max)))
    return web.json_response({"object": "list", "data": found[:limit], "has_more": len(found) > limit})
