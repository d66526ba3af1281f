"""The files of callers whose upstream has no place for them: rows of `files`, their content in pieces beside them.

Every function works within a transaction of the queue's database. A file is seen by those of its scope alone, at its
upstream, and not before it is whole nor after it expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, RowMapping, and_, delete, exists, func, insert, or_, select, update

from ..tables import batches, file_chunks, files
from .objects import Page

PIECE_BYTES: Final = 1024 * 1024
"""Of an uploaded file, save the last; what Penstock itself writes has pieces of any size."""
UPLOADING: Final = "uploading"
WRITING: Final = "writing"
"""Statuses of files that are not whole: their caller sends them, or Penstock makes them."""
_ABANDONED_NS: Final = 24 * 3600 * 1_000_000_000
"""An upload that did not end within this has no process any more that goes on with it."""
_SWEEP_FILES: Final = 100


class Owner(NamedTuple):
    """Whose files, and where."""

    scope: str
    upstream: str


class NoRoom(Exception):
    """The files of all callers take as much as they may."""


class InUse(Exception):
    """A batch that is not over has it as its input."""


def begin(connection: Connection, owner: Owner, id: str, status: str, now_ns: int) -> None:  # noqa: A002
    """A file of which nothing is there yet."""
    connection.execute(
        insert(files).values(
            id=id,
            scope=owner.scope,
            upstream=owner.upstream,
            filename="",
            purpose="",
            status=status,
            bytes=0,
            created_ns=now_ns,
        )
    )


def append(
    connection: Connection,
    id: str,  # noqa: A002
    number: int,
    data: bytes,
    *,
    bytes_max: int | None = None,
) -> None:
    """The next piece. Raises `NoRoom` when all files together are larger than `bytes_max` with it."""
    if bytes_max is not None:
        stored = connection.scalar(select(func.coalesce(func.sum(files.c.bytes), 0)))
        if int(stored or 0) + len(data) > bytes_max:
            raise NoRoom
    connection.execute(insert(file_chunks).values(file_id=id, number=number, data=data))
    connection.execute(update(files).where(files.c.id == id).values(bytes=files.c.bytes + len(data)))


def complete(connection: Connection, id: str, *, filename: str, purpose: str, expires_ns: int) -> RowMapping:  # noqa: A002
    """All of it is there. Returns its row."""
    connection.execute(
        update(files)
        .where(files.c.id == id)
        .values(filename=filename, purpose=purpose, expires_ns=expires_ns, status="processed")
    )
    return connection.execute(select(files).where(files.c.id == id)).mappings().one()


def find(connection: Connection, owner: Owner, id: str, now_ns: int) -> RowMapping | None:  # noqa: A002
    return connection.execute(select(files).where(files.c.id == id, _visible(owner, now_ns))).mappings().one_or_none()


def page(connection: Connection, owner: Owner, wanted: Page, now_ns: int) -> tuple[Sequence[RowMapping], bool] | None:
    """Rows, and whether there are more; None when there is no file `wanted.after`."""
    query = select(files).where(_visible(owner, now_ns))
    if wanted.purpose:
        query = query.where(files.c.purpose == wanted.purpose)
    if wanted.after:
        mark = find(connection, owner, wanted.after, now_ns)
        if mark is None:
            return None
        at, id_ = mark["created_ns"], mark["id"]
        created, ids = files.c.created_ns, files.c.id
        query = query.where(
            or_(created > at, and_(created == at, ids > id_))
            if wanted.oldest_first
            else or_(created < at, and_(created == at, ids < id_))
        )
    order = (
        (files.c.created_ns, files.c.id)
        if wanted.oldest_first
        else (
            files.c.created_ns.desc(),
            files.c.id.desc(),
        )
    )
    rows = connection.execute(query.order_by(*order).limit(wanted.limit + 1)).mappings().all()
    return rows[: wanted.limit], len(rows) > wanted.limit


def remove(connection: Connection, id: str) -> None:  # noqa: A002
    """Its pieces go later, with `sweep`. Raises `InUse`."""
    if connection.execute(select(batches.c.id).where(_needs(id)).limit(1)).first() is not None:
        raise InUse
    discard(connection, id)


def discard(connection: Connection, id: str) -> None:  # noqa: A002
    connection.execute(delete(files).where(files.c.id == id))


def piece(connection: Connection, id: str, after: int = -1) -> tuple[int, bytes] | None:  # noqa: A002
    """The first piece numbered above `after`, with its number; None at the end."""
    row = connection.execute(
        select(file_chunks.c.number, file_chunks.c.data)
        .where(file_chunks.c.file_id == id, file_chunks.c.number > after)
        .order_by(file_chunks.c.number)
        .limit(1)
    ).one_or_none()
    return None if row is None else (row[0], bytes(row[1]))


def garbage(connection: Connection, now_ns: int) -> bool:
    """Whether `sweep` has something to do. Only reads."""
    over = select(files.c.id).where(_over(now_ns))
    pieces = select(file_chunks.c.number).where(_without_file())
    return any(connection.execute(query.limit(1)).first() is not None for query in (over, pieces))


def sweep(connection: Connection, now_ns: int, pieces_max: int) -> None:
    """Delete some of what expired or was given up."""
    over = connection.scalars(select(files.c.id).where(_over(now_ns)).limit(_SWEEP_FILES)).all()
    connection.execute(delete(files).where(files.c.id.in_(over)))
    pieces = connection.execute(
        select(file_chunks.c.file_id, file_chunks.c.number).where(_without_file()).limit(pieces_max)
    ).all()
    for file_id, number in pieces:
        connection.execute(delete(file_chunks).where(file_chunks.c.file_id == file_id, file_chunks.c.number == number))


def _visible(owner: Owner, now_ns: int) -> Any:
    return and_(
        files.c.scope == owner.scope,
        files.c.upstream == owner.upstream,
        files.c.status.not_in((UPLOADING, WRITING)),
        or_(files.c.expires_ns == 0, files.c.expires_ns > now_ns),
    )


def _over(now_ns: int) -> Any:
    return or_(
        and_(files.c.expires_ns > 0, files.c.expires_ns <= now_ns, ~exists().where(_needs(files.c.id))),
        and_(files.c.status == UPLOADING, files.c.created_ns < now_ns - _ABANDONED_NS),
    )


def _needs(file_id: Any) -> Any:
    return and_(batches.c.kind == "local", batches.c.input_file_id == file_id, batches.c.state != "finished")


def _without_file() -> Any:
    return ~exists().where(files.c.id == file_chunks.c.file_id)
