"""A provider that speaks OpenAI's fine-tuning API, by the official SDK. The only module that talks to anybody.

Whatever goes wrong is one of two: `Refused`, which trying again does not change, and `Lost`, which may pass. The SDK
itself tries nothing again: it cannot know that a file or a job may be there although the answer was lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from ..errors import FinetuneError
from .eligibility import Listed
from .pace import Pace
from .replies import items, listed, one_line, seconds, shaped, words

PURPOSE: Final = "fine-tune"
RESULT_BYTES_MAX: Final = 64 * 1024 * 1024
_PASSING: Final = frozenset({408, 425, 429})
_BACKOFF: Final = 0.5
_KEY_MIN: Final = 8
"""Characters. What stands for a key where none is needed is shorter."""
_DONE_NOTHING: Final = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
"""Faults of the network before anything was sent, by the names of the SDK's HTTP library."""

T = TypeVar("T")


class Refused(FinetuneError):
    """The provider said no. `status` is that of HTTP; `about` what in the request it names."""

    def __init__(self, text: str, status: int, about: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.about = about


class Lost(FinetuneError):
    """No answer, or one that says later. `maybe_done`: what was asked may have been done all the same."""

    def __init__(self, text: str, *, maybe_done: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done
        self.retry_after_s = retry_after_s


def _host(address: str) -> str:
    """With its port. Raises `FinetuneError` when `address` is none that can be asked."""
    try:
        parts = urlsplit(address)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and address.isprintable()
    except ValueError:
        fit, parts = False, urlsplit("")
    if parts.username or parts.password:
        raise FinetuneError("The address has a password in it. Give the key by --api-key.")
    if not fit:
        shown = "What is given" if "@" in address else repr(address)
        raise FinetuneError(f"{shown} is no address of an API. Such as https://api.openai.com/v1: --base-url")
    return parts.netloc


class Provider:
    """One address and one key. Every method raises `Refused` or `Lost`; `create` and `upload` ask once."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        pace: Pace,
        *,
        note: Callable[[str], None] = lambda line: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`note` is told when somebody does not answer and is asked again.

        Raises `FinetuneError`: what is given is no address or no key.
        """
        self.host = _host(base_url)
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise FinetuneError("The key has a blank or a letter in it that no key has. Look at --api-key.")
        self.base_url = base_url
        self.pace = pace
        self.sleep = sleep
        self.clock = clock
        self.note = note
        self._answered = False
        self._key = api_key
        self._client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=pace.timeout_s)

    def close(self) -> None:
        """Its connections."""
        self._client.close()

    # What may be asked as often as one likes.

    def models(self) -> dict[str, Listed] | None:
        """By name; None where there is no such list."""

        def ask() -> dict[str, Listed] | None:
            try:
                return {one.id: listed(one) for one in items(self._client.models.list())}
            except openai.NotFoundError:
                return None

        return self.patiently(ask)

    def find_file(self, name: str, size: int) -> str | None:
        """The id of the oldest file of this name and size."""

        def ask() -> str | None:
            files: Iterator[FileObject] = items(self._client.files.list(purpose=PURPOSE))
            found = [one for one in files if one.filename == name and one.bytes == size]
            return min(found, key=lambda one: one.created_at).id if found else None

        return self.patiently(ask)

    def find_job(self, training_file: str, metadata: Mapping[str, str], but: list[str]) -> str | None:
        """The id of the oldest job that trains on the file, has no other metadata of ours, and is not one of `but`."""

        def is_it(job: FineTuningJob) -> bool:
            told = job.metadata or {}
            ours = all(told.get(name, value) == value for name, value in metadata.items())
            return job.training_file == training_file and job.id not in but and ours

        def ask() -> str | None:
            jobs: Iterator[FineTuningJob] = items(self._client.fine_tuning.jobs.list(limit=100))
            found = [one for one in jobs if is_it(one)]
            return min(found, key=lambda one: one.created_at).id if found else None

        return self.patiently(ask)

    def job(self, job_id: str) -> FineTuningJob:
        return self.patiently(lambda: shaped(self._client.fine_tuning.jobs.retrieve(job_id), "id", "status"))

    def events(self, job_id: str, after: str) -> list[FineTuningJobEvent]:
        """Those since the event `after`, oldest first (the API gives the newest first); none where there is no list."""

        def ask() -> list[FineTuningJobEvent]:
            found = []
            one: FineTuningJobEvent
            try:
                page = self._client.fine_tuning.jobs.list_events(job_id, limit=100)
            except openai.NotFoundError:
                return []
            for one in items(page):
                if one.id == after:
                    break
                if isinstance(one.id, str):  # One without a name would be new at every look.
                    found.append(one)
            return found[::-1]

        return self.patiently(ask)

    def checkpoints(self, job_id: str) -> list[FineTuningJobCheckpoint]:
        """By step."""

        def ask() -> list[FineTuningJobCheckpoint]:
            return [*items(self._client.fine_tuning.jobs.checkpoints.list(job_id, limit=100))]

        return sorted(self.patiently(ask), key=lambda one: one.step_number)

    def content(self, file_id: str) -> bytes:
        def ask() -> bytes:
            if shaped(self._client.files.retrieve(file_id), "id").bytes > RESULT_BYTES_MAX:
                raise Refused(f"The file {file_id} has more than {RESULT_BYTES_MAX:,} bytes.", 200)
            return self._client.files.content(file_id).content

        return self.patiently(ask)

    def delete(self, file_id: str) -> None:
        """Also one that is gone."""

        def ask() -> None:
            try:
                self._client.files.delete(file_id)
            except openai.NotFoundError:
                return

        self.patiently(ask)

    def cancel(self, job_id: str) -> FineTuningJob:
        return self._changed(self._client.fine_tuning.jobs.cancel, job_id, "cancelled")

    def pause(self, job_id: str) -> FineTuningJob:
        return self._changed(self._client.fine_tuning.jobs.pause, job_id, "paused")

    def resume(self, job_id: str) -> FineTuningJob:
        return self._changed(self._client.fine_tuning.jobs.resume, job_id, "validating_files", "queued", "running")

    def _changed(self, change: Callable[[str], FineTuningJob], job_id: str, *wanted: str) -> FineTuningJob:
        """Providers refuse to change what is so already, as it is when only their answer was lost."""
        try:
            return self.patiently(lambda: shaped(change(job_id), "id", "status"))
        except Refused:
            found = self.job(job_id)
            if found.status not in wanted:
                raise
            return found

    # What must not be asked twice.

    def upload(self, path: Path, name: str) -> str:
        """The new file's id. Raises `FinetuneError` too: `path` cannot be read."""
        try:
            with path.open("rb") as file:
                files = self._client.files
                return self._asked(lambda: shaped(files.create(file=(name, file), purpose=PURPOSE), "id").id)
        except OSError as error:
            raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error

    def create(self, body: dict[str, Any]) -> FineTuningJob:
        """A new job."""
        return self._asked(lambda: shaped(self._client.fine_tuning.jobs.create(**body), "id"))

    # How.

    @property
    def patience_s(self) -> float:
        """For which the next question is asked again: not for long where nobody has answered anything yet."""
        return self.pace.patience_s if self._answered else self.pace.start_patience_s

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, or `patience_s` are over. Raises the last `Lost`, or `Refused`."""
        waits = wait_random_exponential(multiplier=_BACKOFF, max=self.pace.poll_max_s)

        def wait(state: RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            wanted = fault.retry_after_s if isinstance(fault, Lost) else 0.0
            return max(waits(state), min(wanted, self.pace.poll_max_s))

        def told(state: RetryCallState) -> None:
            if state.attempt_number == 1 and state.outcome is not None:
                self.note(f"{state.outcome.exception()} It is asked again.")

        retrying = Retrying(
            retry=retry_if_exception_type(Lost),
            wait=wait,
            stop=stop_after_delay(self.patience_s),
            before_sleep=told,
            sleep=self.sleep,
            reraise=True,
        )
        found: T = retrying(self._asked, ask)
        return found

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            found = ask()
            self._answered = True
            return found
        except openai.APIConnectionError as error:
            why = type(error.__cause__).__name__ if error.__cause__ is not None else type(error).__name__
            raise Lost(f"{self.host} does not answer ({why}).", maybe_done=why not in _DONE_NOTHING) from error
        except openai.APIStatusError as error:
            raise self._of_status(error) from error
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            raise Refused(f"{self.host} answers, but not as OpenAI's API does. Look at --base-url.", 200) from error

    def _of_status(self, error: openai.APIStatusError) -> Refused | Lost:
        status, said = error.status_code, one_line(words(error))
        if len(self._key) >= _KEY_MIN:
            said = said.replace(self._key, "…")
        if error.code == "insufficient_quota":
            return Refused(f"{self.host} has no quota left for this key: {said}", status)
        if status in _PASSING or status >= 500:
            after_s = seconds(error.response.headers.get("retry-after", ""))
            return Lost(f"{self.host} answers {status}: {said}", maybe_done=status >= 500, retry_after_s=after_s)
        if status == 401:  # What it says may repeat the key.
            return Refused(f"{self.host} does not accept the key. Look at --api-key or OPENAI_API_KEY.", status)
        return Refused(f"{self.host} refuses ({status}): {said}", status, about=f"{error.param or ''} {said}")
