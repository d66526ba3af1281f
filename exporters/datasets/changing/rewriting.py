"""A dataset made of another one: its examples read back, changed one by one, and written in the splits they were in.

Read back is what OpenAI's format and `sources.jsonl` hold. Whose an example is stands there as a hash, which the new
dataset takes over, so that people can be forgotten in it too.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import zstandard

from ..building.build import MADE, making
from ..describing.contents import origins
from ..describing.manifest import Manifest, complete, read
from ..errors import DatasetError
from ..example import Example
from ..formats import Writer, writers
from ..formats.messages import unweighted
from ..options import Write
from ..progress import Progress
from ..provenance import LEFT_OUT, SOURCES, Origin
from ..reasons import Reason

_PIECE_BYTES: Final = 1 << 20
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode

Change = Callable[[Origin, Example], Example | Reason]
"""What becomes of an example: itself, another one, or why it is left out."""
Deed = Callable[[], dict[str, Any]]
"""The entry of the lineage, when all examples were seen."""


def read_back(folder: Path) -> Iterator[tuple[Origin, Example]]:
    """Every example with where it came from, in the order of `sources.jsonl`. `user` and `session` are not known.

    Raises `DatasetError`: it has no files in OpenAI's format, or they are not those that belong to its sources.
    """
    with contextlib.ExitStack() as opened:
        files: dict[str, _Lines] = {}

        def line(name: str, number: int) -> dict[str, Any]:
            if name not in files:
                files[name] = _Lines(folder / name, opened)
            return files[name].line(number)

        for origin in origins(folder):
            found = line(f"{origin.split}.jsonl", origin.line)
            pair = line(f"preferences.{origin.split}.jsonl", origin.preference) if origin.preference else {}
            yield origin, _example(origin, found, pair)


class _Lines:
    def __init__(self, path: Path, opened: contextlib.ExitStack) -> None:
        self._path = path
        self._number = 0
        try:
            self._file: IO[bytes] = opened.enter_context(path.open("rb", buffering=_PIECE_BYTES))
        except FileNotFoundError as error:
            raise DatasetError(
                f"{path.parent} has no {path.name}. Only a dataset with files in OpenAI's format can be read back: "
                "build it with --format openai, beside other formats."
            ) from error
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error

    def line(self, number: int) -> dict[str, Any]:
        self._number += 1
        try:
            if number != self._number:
                raise ValueError
            return _decode(self._file.readline())
        except (ValueError, RecursionError) as error:
            raise DatasetError(
                f"{self._path}, line {self._number}: it does not belong to {SOURCES}. Was one of them edited?"
            ) from error


def _example(origin: Origin, line: dict[str, Any], pair: dict[str, Any]) -> Example:
    return Example(
        request_id=origin.request_id,
        timestamp_ns=origin.timestamp_ns,
        messages=unweighted(line["messages"]),
        tools=line.get("tools", []),
        parallel_tool_calls=line.get("parallel_tool_calls"),
        response_format=origin.response_format,
        rejected=pair.get("non_preferred_output", []),
        model=origin.model,
        upstream=origin.upstream,
        prompt_name=origin.prompt,
        prompt_version=origin.prompt_version,
        tags=origin.tags,
        score=origin.score,
        label=origin.label,
        tokens=origin.tokens,
        tokens_estimated=origin.estimated,
        output_tokens=origin.output_tokens,
    )


def check_name(root: Path, name: str) -> None:
    """Raises `DatasetError`: there is a dataset of that name."""
    if (root / name).exists():
        raise DatasetError(f"There is a dataset {name} in {root} already. Choose another name with --as.")


def rewrite(
    folder: Path, root: Path, name: str, change: Change, deed: Deed, progress: Progress, write: Write | None = None
) -> Manifest:
    """Make `root/name` of the dataset in `folder`, with other options of writing if they are given.

    Raises `DatasetError`: the name is taken, the dataset cannot be read, nothing is left of it, the disk is full.
    """
    check_name(root, name)
    manifest = read(folder)
    options = msgspec.structs.replace(manifest.options, name=name, write=write or manifest.options.write)
    progress.phase("writing", manifest.written)
    with making(root, name) as work:
        made = work / MADE
        dropped = _Rewriting(folder, made, options.write).run(change, progress)
        manifest.name, manifest.options = name, options
        for reason, count in dropped.items():
            key = Reason(reason).name.lower()
            manifest.dropped[key] = manifest.dropped.get(key, 0) + count
        manifest.lineage = [*manifest.lineage, deed()]
        complete(manifest, made)
    return manifest


class _Rewriting:
    def __init__(self, folder: Path, made: Path, options: Write) -> None:
        self._folder = folder
        self._made = made
        self._writers: list[Writer] = writers(options, made)
        self._lines: Counter[str] = Counter()
        self._preferences: Counter[str] = Counter()

    def run(self, change: Change, progress: Progress) -> Counter[Reason]:
        """What was left out, by reason."""
        dropped: Counter[Reason] = Counter()
        with contextlib.ExitStack() as opened:
            for writer in self._writers:
                opened.callback(writer.close)
            sources = opened.enter_context((self._made / SOURCES).open("wb"))
            file = opened.enter_context((self._made / LEFT_OUT).open("wb"))
            left_out = opened.enter_context(zstandard.ZstdCompressor(level=3).stream_writer(file))
            _copy_lines(self._folder / LEFT_OUT, left_out)
            for origin, example in read_back(self._folder):
                changed = change(origin, example)
                if isinstance(changed, Reason):
                    dropped[changed] += 1
                    left_out.write(_excuse(origin, changed))
                else:
                    sources.write(_encode(self._write(origin, changed)) + b"\n")
                progress.advance()
            if not self._lines:
                raise DatasetError(f"Nothing is left of {sum(dropped.values()):,} examples.")
        return dropped

    def _write(self, origin: Origin, example: Example) -> Origin:
        for writer in self._writers:
            writer.write(origin.split, example)
        self._lines[origin.split] += 1
        self._preferences[origin.split] += bool(example.rejected)
        return msgspec.structs.replace(
            origin,
            line=self._lines[origin.split],
            preference=self._preferences[origin.split] if example.rejected else 0,
            tokens=example.tokens,
            estimated=example.tokens_estimated,
            output_tokens=example.output_tokens,
            model=example.model,
            label=example.label,
            score=example.score,
        )


def _excuse(origin: Origin, reason: Reason) -> bytes:
    """As `provenance.excuse_line` has it."""
    found = {"request_id": origin.request_id, "reason": reason.name.lower()}
    found |= {name: value for name in ("cluster", "person", "session") if (value := getattr(origin, name))}
    return _encode(found) + b"\n"


def _copy_lines(path: Path, target: Any) -> None:
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            while piece := reader.read(_PIECE_BYTES):
                target.write(piece)
    except FileNotFoundError:
        return
    except zstandard.ZstdError as error:
        raise DatasetError(f"{path} cannot be read: it is no zstd file, or not all of it.") from error
