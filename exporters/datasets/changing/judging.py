"""Whether the answer of another model may take the place of an example's own, by the rules of its dataset."""

from __future__ import annotations

import msgspec

from ..assembling.cleaning import Cleaner
from ..example import Example, Row, answer
from ..formats.messages import plain
from ..options import Options
from ..reasons import Reason
from ..scrubbing.scrub import Scrubber
from .asking import Answer


class Judge:
    """Raises `DatasetError` as `Cleaner` and `Scrubber` do."""

    def __init__(self, options: Options) -> None:
        self._cleaner = Cleaner(options.clean, corrections=False)
        self._scrubber = Scrubber(options.scrub) if options.scrub.enabled else None

    def judged(self, example: Example, found: Answer) -> Answer:
        """`found` with a message that may be written to disk, or with a failure instead. `example` stays as it is."""
        if found.message is None:
            return found
        # A copy, as scrubbing writes in place.
        copy = msgspec.msgpack.decode(msgspec.msgpack.encode(example), type=Example)
        copy.messages[-1] = plain({**found.message, "role": "assistant"})
        row = Row(request_id=example.request_id, finish_reasons=[found.finish] if found.finish else [])
        reason = self._cleaner.judge(row, copy)
        if reason is not Reason.KEPT:
            return msgspec.structs.replace(found, message=None, failure=reason.name.lower())
        if self._scrubber is not None:
            self._scrubber.scrub(copy)
        return msgspec.structs.replace(found, message=answer(copy))
