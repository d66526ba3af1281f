"""Scores on their way into ClickHouse, as the proxy takes them: each linked to the call it is of, and kept once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import tenacity

from .asking import Answer
from .scoring import Score, is_yes_or_no

AT_ONCE: Final = 500
_TRIES: Final = 6
_TIMEOUT_S: Final = 30.0


class NotRecorded(Exception):
    """One line: why the proxy did not take the scores."""


def items(run: str, answers: Iterable[tuple[Answer, Mapping[str, Score]]]) -> Iterator[dict[str, Any]]:
    """What `POST /penstock/feedback` takes, for each score of an answer that the proxy recorded."""
    for answer, scores in answers:
        if not answer.request_id:
            continue
        for name, score in scores.items():
            yield {
                "request_id": answer.request_id,
                "response_id": answer.response_id,
                "kind": "evaluation",
                "run": run,
                "name": name,
                "score": score.value,
                "label": ("pass" if score.value else "fail") if is_yes_or_no(name) else "",
                "comment": score.why,
            }


def send(url: str, api_key: str, run: str, found: Sequence[Mapping[str, Any]], wait: Any = None) -> int:
    """How many the proxy took. May be repeated: what it took before is not kept twice. Raises `NotRecorded`.

    `url` is the one that models were asked at.
    """
    address = urljoin(url, "/penstock/feedback")
    again = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_passes),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=wait or tenacity.wait_random_exponential(multiplier=0.5, max=10),
        reraise=True,
    )
    with httpx.Client(timeout=_TIMEOUT_S, headers={"authorization": f"Bearer {api_key}"}) as client:
        for start in range(0, len(found), AT_ONCE):
            again(_post, client, address, f"{run}:{start}", found[start : start + AT_ONCE])
    return len(found)


def _post(client: httpx.Client, address: str, key: str, part: Sequence[Mapping[str, Any]]) -> None:
    try:
        reply = client.post(address, json=part, headers={"idempotency-key": key})
        reply.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise NotRecorded(f"{address} answers {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise NotRecorded(f"{address} cannot be reached") from error


def _passes(error: BaseException) -> bool:
    """Whether it may be gone when it is tried again."""
    cause = error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        return cause.response.status_code >= 500 or cause.response.status_code == 429
    return isinstance(cause, httpx.HTTPError)
