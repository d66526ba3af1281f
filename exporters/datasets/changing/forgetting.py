"""Take somebody out of a dataset: out of every file, and out of what it would be made of again.

The lines of a person, or of a call, are dropped from the files as they are; nothing is selected anew, so it works when
the traffic itself is long gone. Counts, pictures and card are made again of what is left, as if those rows had never
been. The options get the hashed names, so that a later build leaves them out as well.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

from ... import files
from ..building import build
from ..building.indexing import forgotten_id
from ..describing.card import CARD
from ..describing.catalog import runs
from ..describing.contents import origins
from ..describing.manifest import MANIFEST, TRAINED, Manifest, complete, read
from ..describing.plots import FOLDER as PLOTS
from ..errors import DatasetError
from ..options import Select, Split
from ..provenance import LEFT_OUT, SOURCES, Origin
from ..reasons import Reason
from ..tracing import Known, known

UNFINISHED: Final = ".*.relabeling.jsonl"
"""Answers of relabellings that are to go on."""
_NOBODY: Final = "forgotten-"
"""Before the hash, where the options had a name."""
MADE_AGAIN: Final = frozenset({MANIFEST, CARD, PLOTS, SOURCES, LEFT_OUT})


class Forgotten(msgspec.Struct, kw_only=True):
    """What was taken out of one dataset."""

    dataset: str
    examples: int
    left_out: int
    """Calls that were noted as left out."""
    trained: list[dict[str, Any]]
    """Runs that had learnt of what the dataset held: lines of `trained.jsonl`."""
    not_looked_into: list[str]
    """Files that somebody put beside the dataset's own. They were kept as they are."""
    may_remain: list[str]
    """What could not be told: calls left out as the beginning of a conversation that has no session to find it by,
    and options that hold a name."""


class _Excuse(msgspec.Struct):
    request_id: str
    reason: str
    person: str = ""
    session: str = ""


@dataclass(slots=True)
class _Wanted:
    """Whom to forget, hashed as the dataset names them, and what that is in one dataset."""

    names: dict[str, str]
    """Hashed, by the name in clear."""
    digests: frozenset[str]
    sessions: set[str] = field(default_factory=set)
    """Sessions that hold the text of a call that is to be forgotten."""
    requests: set[str] = field(default_factory=set)
    lines: set[tuple[Split, int]] = field(default_factory=set)
    pairs: set[tuple[Split, int]] = field(default_factory=set)
    excuses: dict[str, str] = field(default_factory=dict)
    """Reasons by the request id."""
    may_remain: list[str] = field(default_factory=list)

    def means(self, person: str, request_id: str) -> bool:
        return person in self.digests or forgotten_id(request_id) in self.digests


def forget(folder: Path, *, users: Iterable[str] = (), requests: Iterable[str] = ()) -> Forgotten | None:
    """Take them out of the dataset in `folder`; None when it holds nothing of them, and nothing was changed.

    The dataset takes its own place when it is whole; of a link to it, that is where it leads. Raises `DatasetError`.
    """
    folder = folder.resolve()
    names = {name: forgotten_id(name) for name in (*users, *requests) if name}
    wanted = _Wanted(names, frozenset(names.values()))
    manifest = read(folder)
    _look(folder, manifest, wanted)
    if not wanted.requests and not wanted.excuses:
        return None
    ours = known_files(folder) | MADE_AGAIN | {TRAINED}
    unknown = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    trained = runs(folder)
    told_by = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    try:
        with build.building(folder.parent, folder.name) as place:
            made = place / "made"
            made.mkdir()
            _without(folder, made, manifest, wanted)
            complete(_corrected(manifest, wanted), made)
            for name in [*unknown, TRAINED]:
                _keep(folder / name, made / name)
            _drop_answers(folder.parent, told_by, wanted)
            build.into_place(made, folder)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written anew: {error.strerror or error}. It is as it was.") from error
    return Forgotten(
        dataset=folder.name,
        examples=len(wanted.requests),
        left_out=len(wanted.excuses),
        trained=trained if wanted.requests else [],
        not_looked_into=unknown,
        may_remain=wanted.may_remain,
    )


def clear(root: Path) -> None:
    """Before anybody is looked for: what a killed command left in `root` holds people too. Raises `DatasetError`."""
    try:
        build.clear(root)
    except OSError as error:
        raise DatasetError(f"What was left in {root} cannot be cleared: {error.strerror or error}.") from error


def _look(folder: Path, manifest: Manifest, wanted: _Wanted) -> None:
    """Find what they are in the dataset. A call's text is also in the calls that its conversation went on with."""
    for excuse, _ in _excuses(folder):
        if wanted.means(excuse.person, excuse.request_id):
            wanted.excuses[excuse.request_id] = excuse.reason
            if excuse.reason == Reason.PREFIX.name.lower() and excuse.person not in wanted.digests:
                if excuse.session:
                    wanted.sessions.add(excuse.session)
                else:
                    wanted.may_remain.append(f"what request {excuse.request_id} said, in a longer conversation")
    if manifest.options.deduplicate.keep_prefixes:
        wanted.sessions |= {
            origin.session
            for origin in origins(folder)
            if origin.session and origin.person not in wanted.digests and wanted.means("", origin.request_id)
        }
    for origin in origins(folder):
        if wanted.means(origin.person, origin.request_id) or origin.session in wanted.sessions:
            wanted.requests.add(origin.request_id)
            wanted.lines.add((origin.split, origin.line))
            if origin.preference:
                wanted.pairs.add((origin.split, origin.preference))


def known_files(folder: Path) -> set[str]:
    """The dataset's own files and folders at its top. Raises `DatasetError` when one of them cannot be looked into."""
    own = {file.path.partition("/")[0] for file in read(folder).files}
    if strange := sorted(name for name in own - MADE_AGAIN if known(name) is None):
        raise DatasetError(f"{folder} has files of examples that this Penstock does not know: {', '.join(strange)}.")
    return own


def _without(folder: Path, made: Path, manifest: Manifest, wanted: _Wanted) -> None:
    for file in manifest.files:
        if how := known(file.path):
            _copy_without(folder / file.path, made / file.path, how, wanted)
    with (made / SOURCES).open("xb") as out:
        for origin in _renumbered(folder, wanted):
            out.write(msgspec.json.encode(origin) + b"\n")
    with (made / LEFT_OUT).open("xb") as target, zstandard.ZstdCompressor(level=3).stream_writer(target) as left_out:
        for excuse, line in _excuses(folder):
            if excuse.request_id not in wanted.excuses:
                left_out.write(line)


def _copy_without(source: Path, target: Path, how: Known, wanted: _Wanted) -> None:
    if how.key == "column":
        _table_without(source, target, wanted)
        return
    gone = wanted.lines if how.key == "line" else wanted.pairs
    named: Callable[[bytes], Any] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    with source.open("rb") as lines, target.open("xb") as out:
        for number, line in enumerate(lines, 1):
            if how.key == "id":
                is_gone = msgspec.json.decode(named(line)["id"], type=str) in wanted.requests
            else:
                is_gone = (how.split, number) in gone
            if not is_gone:
                out.write(line)
    _drop_empty(target)


def _table_without(source: Path, target: Path, wanted: _Wanted) -> None:
    import pyarrow
    from pyarrow import compute, parquet

    gone = pyarrow.array(sorted(wanted.requests), pyarrow.string())
    rows = 0
    with (
        parquet.ParquetFile(source) as table,
        target.open("xb") as out,
        parquet.ParquetWriter(out, table.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(table.num_row_groups):
            found = table.read_row_group(group)
            left = found.filter(compute.invert(compute.is_in(found["request_id"], value_set=gone)))
            if left.num_rows:
                writer.write_table(left)
                rows += left.num_rows
    if not rows:
        target.unlink()


def _drop_empty(path: Path) -> None:
    """A split without an example has no file."""
    if not path.stat().st_size:
        path.unlink()


def _renumbered(folder: Path, wanted: _Wanted) -> Iterator[Origin]:
    lines: dict[Split, int] = {}
    pairs: dict[Split, int] = {}
    for origin in origins(folder):
        if origin.request_id in wanted.requests:
            continue
        lines[origin.split] = origin.line = lines.get(origin.split, 0) + 1
        if origin.preference:
            pairs[origin.split] = origin.preference = pairs.get(origin.split, 0) + 1
        yield origin


def _corrected(manifest: Manifest, wanted: _Wanted) -> Manifest:
    """As if those rows had never been selected."""
    for reason in wanted.excuses.values():
        manifest.dropped[reason] -= 1
    manifest.dropped = {reason: count for reason, count in manifest.dropped.items() if count > 0}
    manifest.selected -= len(wanted.excuses) + len(wanted.requests)
    manifest.options = msgspec.structs.replace(manifest.options, select=_unnamed(manifest.options.select, wanted))
    deed = {"action": "forget", "examples": len(wanted.requests), "left_out": len(wanted.excuses)}
    manifest.lineage = [*manifest.lineage, deed]
    return manifest


def _drop_answers(root: Path, dataset: str, wanted: _Wanted) -> None:
    """Remove what unfinished relabellings of the dataset were answered: of no use any more, and theirs may be there."""
    for path in root.glob(UNFINISHED):
        with path.open("rb") as file:
            head = file.readline()
        if dataset.encode() not in head:
            continue
        lock = files.try_lock(path)
        if lock is None:
            wanted.may_remain.append("what a relabelling that is at work is answered, and what it will make of it")
        else:
            path.unlink()
            os.close(lock)


def _unnamed(select: Select, wanted: _Wanted) -> Select:
    """The selection without their names, and with what keeps them out. Whoever was asked for by name is nobody now:
    without a name in its place, everybody would be."""
    where = select.where
    for name, hashed in wanted.names.items():
        where = where.replace(f"'{name}'", f"'{_NOBODY}{hashed}'")
        if name in where:
            wanted.may_remain.append("a name in --where")

    def nobody(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{_NOBODY}{wanted.names[value]}" if value in wanted.names else value for value in values)

    return msgspec.structs.replace(
        select,
        where=where,
        users=nobody(select.users),
        forgotten=tuple(sorted({*select.forgotten, *wanted.digests})),
    )


def _excuses(folder: Path) -> Iterator[tuple[_Excuse, bytes]]:
    """Every call that is noted as left out, and its line. Raises `DatasetError`."""
    decode = msgspec.json.Decoder(_Excuse).decode
    try:
        with (folder / LEFT_OUT).open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            for line in io.BufferedReader(reader, 1 << 20):
                yield decode(line), line
    except FileNotFoundError:
        return
    except (OSError, zstandard.ZstdError, msgspec.DecodeError) as error:
        raise DatasetError(f"{folder / LEFT_OUT} cannot be read: {error}.") from error


def _keep(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy2(source, target)
