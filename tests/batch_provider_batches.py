"""The batches of `batch_provider.py`: how a file is judged, and how its lines are run one after the other."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from .batch_provider_replies import Json, reply

LINES_MAX: Final = 50_000
INPUT_BYTES_MAX: Final = 200_000_000
FAULTS_MAX: Final = 100
_BREATHE_LINES: Final = 50
_LOOK_S: Final = 0.01
NOT_RUN: Final = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}
OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass
class Knobs:
    """What goes wrong, and how fast things go. Set at any time; what counts `next` ones counts down."""

    lines_per_s: float = 0.0
    """Of each batch; 0: as fast as it goes."""
    hold_after: int = -1
    """Batches stand still after so many lines until this is -1 again, or they are cancelled."""
    validating_s: float = 0.0
    finalizing_s: float = 0.0
    latency_s: float = 0.0
    """Before each reply."""
    list_lag_s: float = 0.0
    """How long a new batch or file is missing from its list."""
    fail_next: int = 0
    """So many of the next batches fail as a whole, for a reason that no line has."""
    fail_code: str = "token_limit_exceeded"
    fail_lines: list[int] = field(default_factory=list)
    """The next batch fails, and these lines (from 1) are named in its errors."""
    expire_after: int = -1
    """The next batch expires after so many lines."""
    drop_lines: int = 0
    """The next batch forgets its last lines: they are in neither file."""
    duplicate_lines: int = 0
    """The next batch has its first lines twice in its files."""
    alien_lines: int = 0
    """The next batch has so many lines in its output that nobody asked."""
    refuse: dict[str, list[int]] = field(default_factory=dict)
    """By `POST /v1/files` and the like (`POST /v1/batches/*/cancel`): with what the next such requests are answered."""
    cut_before: dict[str, int] = field(default_factory=dict)
    """By the same: so many of the next such requests lose their connection before anything is done."""
    cut_after: dict[str, int] = field(default_factory=dict)
    """By the same: ... after all is done, so that only the reply is lost."""
    flex_refusals: int = 0
    """So many of the next flex calls are answered by 429 resource unavailable."""
    keys: list[str] = field(default_factory=list)
    """Accepted API keys; none: all are."""


@dataclass
class File:
    id: str
    owner: str
    filename: str
    purpose: str
    path: Path
    bytes: int
    created: float
    expires_at: int | None = None

    def shown(self) -> Json:
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": int(self.created),
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


@dataclass
class Batch:
    id: str
    owner: str
    created: float
    shown: Json
    """As the API shows it."""

    def enter(self, status: str) -> None:
        self.shown["status"] = status
        self.shown[f"{status}_at"] = int(time.time())


def new_batch(owner: str, endpoint: str, file_id: str, metadata: Json | None) -> Batch:
    now = time.time()
    names = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    shown: Json = {
        "id": f"batch_{uuid.uuid4().hex}",
        "object": "batch",
        "endpoint": endpoint,
        "errors": None,
        "input_file_id": file_id,
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": int(now),
        "expires_at": int(now) + 86_400,
        **{f"{name}_at": None for name in names},
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": metadata,
    }
    return Batch(shown["id"], owner, now, shown)


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def faults(path: Path, endpoint: str) -> Iterator[Json]:
    """What is wrong with an input file, in the words of `errors.data`."""
    if path.stat().st_size > INPUT_BYTES_MAX:
        yield fault("file_too_large", f"The file is larger than {INPUT_BYTES_MAX} bytes.")
        return
    seen: set[str] = set()
    model, count = "", 0
    for number, line in lines(path):
        count += 1
        if count > LINES_MAX:
            yield fault("too_many_tasks", f"The file has more than {LINES_MAX} lines.")
            return
        try:
            asked = json.loads(line)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            yield fault("invalid_json_line", "This line is not parseable as valid JSON.", number)
            continue
        yield from _line_faults(asked, number, endpoint, seen, model)
        body = asked.get("body")
        model = model or (str(body.get("model", "")) if isinstance(body, dict) else "")
    if not count:
        yield fault("empty_file", "The input file is empty.")


def _line_faults(asked: Json, number: int, endpoint: str, seen: set[str], model: str) -> Iterator[Json]:
    custom_id = asked.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        yield fault("missing_required_parameter", "Missing required parameter: 'custom_id'.", number, "custom_id")
    elif custom_id in seen:
        yield fault("duplicate_custom_id", f"The custom_id '{custom_id}' is used twice.", number, "custom_id")
    else:
        seen.add(custom_id)
    if asked.get("method") != "POST":
        yield fault("invalid_method", "The method must be POST.", number, "method")
    if asked.get("url") != endpoint:
        yield fault("mismatched_endpoint", f"The url does not match the batch's {endpoint}.", number, "url")
    body = asked.get("body")
    if not isinstance(body, dict):
        yield fault("missing_required_parameter", "Missing required parameter: 'body'.", number, "body")
    elif not isinstance(body.get("model"), str):
        yield fault("missing_required_parameter", "Missing required parameter: 'model'.", number, "body.model")
    elif model and body["model"] != model:
        yield fault("mismatched_model", f"All requests must be for one model, {model}.", number, "body.model")
    elif body.get("stream"):
        yield fault("unsupported_parameter", "Streams are not supported in a batch.", number, "body.stream")


def fault(code: str, message: str, line: int | None = None, param: str | None = None) -> Json:
    return {"code": code, "message": message, "line": line, "param": param}


@dataclass
class Plan:
    """The knobs that one batch was born with."""

    fail: bool
    fail_lines: list[int]
    expire_after: int
    drop: int
    duplicate: int
    alien: int

    @classmethod
    def take(cls, knobs: Knobs) -> Plan:
        plan = cls(
            knobs.fail_next > 0,
            knobs.fail_lines,
            knobs.expire_after,
            knobs.drop_lines,
            knobs.duplicate_lines,
            knobs.alien_lines,
        )
        knobs.fail_next = max(0, knobs.fail_next - 1)
        knobs.fail_lines, knobs.expire_after = [], -1
        knobs.drop_lines = knobs.duplicate_lines = knobs.alien_lines = 0
        return plan


class Run:
    """One batch from `validating` to its end."""

    def __init__(
        self,
        batch: Batch,
        source: Path,
        knobs: Knobs,
        asked: Counter[str],
        new_file: Callable[[str, str], File],
        appear: Callable[[File], None],
    ) -> None:
        """`new_file` makes an empty file of an owner, by name; `appear` is told when it may be seen."""
        self._batch = batch
        self._source = source
        self._knobs = knobs
        self._plan = Plan.take(knobs)
        self._asked = asked
        self._new_file = new_file
        self._appear = appear

    async def __call__(self) -> None:
        await asyncio.sleep(self._knobs.validating_s)
        shown = self._batch.shown
        found = self._faults()
        if found and shown["status"] == "validating":
            shown["errors"] = {"object": "list", "data": found[:FAULTS_MAX]}
            self._batch.enter("failed")
            return
        if shown["status"] == "validating":
            self._batch.enter("in_progress")
        shown["request_counts"]["total"] = sum(1 for _ in lines(self._source))
        with ExitStack() as stack:
            files = {"output_file_id": self._new_file(self._batch.owner, f"{self._batch.id}_output.jsonl")}
            files["error_file_id"] = self._new_file(self._batch.owner, f"{self._batch.id}_error.jsonl")
            out = {name: stack.enter_context(file.path.open("wb")) for name, file in files.items()}
            end = await self._run_lines(out["output_file_id"], out["error_file_id"])
        if end == "completed":
            self._batch.enter("finalizing")
        await asyncio.sleep(self._knobs.finalizing_s)
        for name, file in files.items():
            file.bytes = file.path.stat().st_size
            if file.bytes:
                shown[name] = file.id
                self._appear(file)
            else:
                file.path.unlink()
        self._batch.enter(end)

    def _faults(self) -> list[Json]:
        if self._plan.fail:
            return [fault(self._knobs.fail_code, "The whole batch fails.")]
        if self._plan.fail_lines:
            return [fault("invalid_request", "This line cannot be run.", line) for line in self._plan.fail_lines]
        return [*faults(self._source, self._batch.shown["endpoint"])]

    async def _run_lines(self, good: BinaryIO, bad: BinaryIO) -> str:
        """How it ends: completed, expired or cancelled."""
        shown, plan = self._batch.shown, self._plan
        counts = shown["request_counts"]
        end = "completed"
        for count, (_, line) in enumerate(lines(self._source)):
            if end == "completed" and shown["status"] == "cancelling":
                end = "cancelled"
            if end == "completed" and count == plan.expire_after:
                end = "expired"
            if count >= counts["total"] - plan.drop:
                continue
            if end == "completed" and await self._held(count):
                end = "cancelled"
            asked = json.loads(line)
            if end != "completed":
                code, message = NOT_RUN[end]
                made = _line(asked["custom_id"], None, {"code": code, "message": message})
                bad.write(made)
                continue
            await self._pace(count)
            self._asked[asked["custom_id"]] += 1
            status, body = reply(asked["url"], asked["body"])
            response = {"status_code": status, "request_id": f"req_{uuid.uuid4().hex}", "body": body}
            counts["completed" if status < 400 else "failed"] += 1
            made = _line(asked["custom_id"], response, None)
            (good if status < 400 else bad).write(made * (2 if count < plan.duplicate else 1))
        for number in range(plan.alien):
            good.write(_line(f"alien-{number}", {"status_code": 200, "request_id": "req_0", "body": {}}, None))
        return end

    async def _held(self, count: int) -> bool:
        """Stand still as long as is wanted. Whether the batch was cancelled meanwhile."""
        while 0 <= self._knobs.hold_after <= count and self._batch.shown["status"] != "cancelling":
            await asyncio.sleep(_LOOK_S)
        return bool(self._batch.shown["status"] == "cancelling")

    async def _pace(self, count: int) -> None:
        if self._knobs.lines_per_s:
            await asyncio.sleep(1 / self._knobs.lines_per_s)
        elif count % _BREATHE_LINES == 0:
            await asyncio.sleep(0)


def _line(custom_id: str, response: Json | None, error: Json | None) -> bytes:
    made: dict[str, Any] = {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": custom_id}
    return json.dumps({**made, "response": response, "error": error}).encode() + b"\n"
