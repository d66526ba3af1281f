"""Count a background response once, whoever asks for it and however often.

`POST /v1/responses` with `background: true` is answered before there is any usage; the usage comes with whichever later
`GET /v1/responses/{id}` finds the response finished, or with the stream of either. The first to see it claims it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from pathlib import Path

_log = logging.getLogger(__name__)

KEPT_S = 31 * 24 * 3600
"""Providers forget responses after 30 days."""

_STORED = re.compile(r"/v1/responses/[^/]+")
_IN_BACKGROUND = re.compile(rb'"background"\s*:\s*true')


class Claims:
    """One empty file for each response that was counted: atomic between the workers of a machine, and over restarts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def claim(self, response_id: str) -> bool:
        """True for the first who asks. When the disk refuses, the usage counts: rather twice than never."""
        name = hashlib.sha256(response_id.encode()).hexdigest()[:32]
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            _log.warning("cannot note that a background response was counted: %s", error.strerror)
        return True

    def forget_old(self, now_s: float | None = None) -> None:
        """Drop claims on responses that the provider no longer has."""
        before = (time.time() if now_s is None else now_s) - KEPT_S
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    if entry.stat().st_mtime < before:
                        os.unlink(entry.path)
        except FileNotFoundError:
            return


def reads_a_response(method: str, path: str) -> bool:
    """Whether the call asks for a stored response, whose usage may not have been counted yet."""
    return method == "GET" and _STORED.fullmatch(path) is not None


def is_background(reply: bytes) -> bool:
    """Whether a response object says that it was made in the background."""
    return _IN_BACKGROUND.search(reply) is not None
