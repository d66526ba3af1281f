"""What the choice and the files need of the rows of a slice: their numbers, and their lines, encoded.

Many rows of chat traffic are the beginning of another call (see `chains`), mostly of one that came soon after. Of
those nothing is computed but what says so: no digest of the text, no overlap with evaluation sets, no signature and no
lines. That is decided among the rows that are held together and those before them in the slice. A row whose
continuation comes later than that is dropped by the choice, which knows of all rows; what was computed of it was in
vain. So nothing that is written depends on how the source was sliced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..comparing.chains import Chain
from ..comparing.contamination import Benchmarks
from ..comparing.fingerprints import signatures, spoken, text_digest
from ..example import Example
from ..formats import Writer
from ..index import FLOAT32_MAX, PACKED, ROW, SIGNATURE, digest, digest_of_name
from ..options import Options
from ..provenance import pieces_of, pieces_of_left_out
from .spill import SpillWriter, Waiting

_TOGETHER: Final = 256
"""Rows whose texts are looked up and signed together."""

Held = tuple[Example, Chain]
"""A row that is to be in the dataset as far as one can tell of it alone, scrubbed."""


class _Found(NamedTuple):
    text: int = 0
    benchmark: int = 0


_NOT_LOOKED_AT: Final = _Found()


class Indexer:
    """Of one slice."""

    def __init__(self, options: Options, benchmarks: Benchmarks, writers: Sequence[Writer], spill: SpillWriter) -> None:
        """`writers` encode, and write nothing here."""
        self._options = options
        self._benchmarks = benchmarks
        self._writers = writers
        self._spill = spill
        self._numbers: list[bytes] = []
        self._prefixes: set[bytes] = set()
        self._signatures: list[NDArray[np.uint32]] = []

    def add(self, held: Sequence[Held]) -> None:
        """The next rows of the slice. Raises `OSError`."""
        for _, found in held:
            self._prefixes.update(found.prefixes)
        looked_at = self._looked_at([example for example, found in held if not self._is_beginning(example, found)])
        for example, found in held:
            of_text = _NOT_LOOKED_AT if self._is_beginning(example, found) else next(looked_at)
            self._numbers.append(self._packed(example, found, of_text))
            _unname(example)
            self._spill.add(self._waiting(example) if of_text.text else Waiting(pieces_of_left_out(example)))

    def save(self, numbers: Path, prefixes: Path, signatures: Path) -> None:
        """Leave an array of `ROW`, the digests of all beginnings, and the signatures of rows whose `text` is not 0."""
        np.save(numbers, np.frombuffer(b"".join(self._numbers), ROW))
        np.save(prefixes, np.unique(np.frombuffer(b"".join(self._prefixes), np.uint64)))
        if self._options.deduplicate.near:
            np.save(signatures, np.concatenate([np.zeros((0, SIGNATURE), np.uint32), *self._signatures]))

    def _is_beginning(self, example: Example, found: Chain) -> bool:
        # As `choose` has it. A corrected answer is in no other conversation.
        if self._options.deduplicate.keep_prefixes or example.rejected:
            return False
        return found.whole in self._prefixes

    def _looked_at(self, examples: Sequence[Example]) -> Iterator[_Found]:
        for begin in range(0, len(examples), _TOGETHER):
            some = examples[begin : begin + _TOGETHER]
            said = [spoken(example.messages) for example in some]
            if self._options.deduplicate.near:
                self._signatures.append(signatures(some))
            yield from map(_Found, map(text_digest, said), self._benchmarks.overlaps(said))

    def _waiting(self, example: Example) -> Waiting:
        encoded = [writer.encode(example) for writer in self._writers]
        return Waiting(pieces_of(example), encoded, bool(example.rejected))

    def _packed(self, example: Example, found: Chain, of_text: _Found) -> bytes:
        template = int.from_bytes(found.template, "little")
        score = example.score
        return PACKED.pack(
            example.timestamp_ns,
            digest(example.request_id),
            int.from_bytes(found.whole, "little"),
            of_text.text,
            int.from_bytes(found.root, "little"),
            digest_of_name(example.user),
            digest_of_name(example.session),
            template,
            digest_of_name(example.label),
            self._group(example, template),
            np.nan if score is None else min(max(score, -FLOAT32_MAX), FLOAT32_MAX),
            min(example.tokens, 2**32 - 1),
            min(len(example.messages), 2**16 - 1),
            of_text.benchmark,
            bool(example.rejected),
        )

    def _group(self, example: Example, template: int) -> int:
        """What `--sample` counts by; 0 where nothing is sampled."""
        by = self._options.select.sample_by
        if by in ("", "template"):
            return template if by else 0
        names = {
            "user": example.user,
            "session": example.session,
            "label": example.label,
            "model": example.model,
            "prompt": example.prompt_name,
            "key": example.key_id,
        }
        return digest_of_name(names[by])


def _unname(example: Example) -> None:
    """Whose it is, from here on by a hash: names of people do not reach the disk either."""
    session = digest_of_name(example.session)
    example.user, example.session = forgotten_id(example.user), f"{session:016x}" if session else ""


@lru_cache(4096)
def forgotten_id(name: str) -> str:
    """How a manifest names whom a dataset must not hold, without naming them."""
    return f"{digest('forgotten', name):016x}" if name else ""
