"""Uploads have a limit, by their length, their purpose and what is there already, and leave nothing when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from proxy.batching.local import files, receiving
from proxy.batching.local.files import Owner
from proxy.batching.local.receiving import receive
from proxy.batching.queue import Queue
from proxy.batching.tables import file_chunks
from proxy.batching.tables import files as files_table
from proxy.errors import ClientFault, ClientGone, Overload
from proxy.exchange import Exchange, RequestBody
from proxy.settings import Server, Settings

OWNER = Owner("mine", "tiny")
HEADERS = [(b"content-type", b"multipart/form-data; boundary=x")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """On one database: what is asked of it here is asked of both elsewhere."""
    return Settings(server=Server(data_dir=str(tmp_path)))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", 100)
    monkeypatch.setattr(receiving, "PIECE_BYTES", 100)


def part(name: str, content: bytes) -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"'.encode() + b"\r\n\r\n" + content + b"\r\n"


def upload(content: bytes, *, purpose: str = "vision", purpose_first: bool = True) -> bytes:
    file = part('file"; filename="in.jsonl', content)
    parts = [part("purpose", purpose.encode()), file]
    return b"".join(parts if purpose_first else parts[::-1]) + b"--x--\r\n"


class Source:
    """A body in pieces; one that is an exception is raised."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self._pieces: Iterator[bytes | BaseException] = iter(pieces)
        self.given = 0

    async def read(self) -> bytes:
        piece = next(self._pieces, b"")
        if isinstance(piece, BaseException):
            raise piece
        self.given += len(piece)
        return piece


def exchange(source: Source, length: int | None = None) -> Exchange:
    return Exchange(
        request_id="7" * 32,
        trace_id="8" * 32,
        span_id="9" * 16,
        parent_span_id="",
        trace_state="",
        start_ns=5_000_000_000,
        started_s=0.0,
        method="POST",
        path="/v1/files",
        query="",
        headers=HEADERS,
        names=[name for name, _ in HEADERS],
        fields=dict(HEADERS),
        body=RequestBody(source, length, 1 << 30),
        endpoint="other",
    )


async def given(
    queue: Queue, *pieces: bytes | BaseException, length: int | None = None, room: int = 10_000
) -> tuple[int, bytes]:
    """The size of the file that becomes of a body, and what is stored of it."""
    row = await receive(queue, exchange(Source(*pieces), length), OWNER, 1000, 500, room)
    stored = await queue.read(lambda connection: connection.scalars(select(file_chunks.c.data)).all())
    return row["bytes"], b"".join(stored)


async def left(queue: Queue) -> int:
    return len(await queue.read(lambda connection: connection.execute(select(files_table)).all()))


@pytest.mark.parametrize("cut", [1, 50, 99, 100, 101, 400])
async def test_a_file_is_stored_in_pieces_of_one_size(queue: Queue, cut: int) -> None:
    content = bytes(range(250))
    body = upload(content)
    assert await given(queue, *(body[at : at + cut] for at in range(0, len(body), cut))) == (250, content)
    sizes = await queue.read(
        lambda connection: [len(data) for data in connection.scalars(select(file_chunks.c.data)).all()]
    )
    assert sizes == [100, 100, 50]


@pytest.mark.parametrize(("purpose", "most"), [("vision", 1000), ("batch", 500)])
@pytest.mark.parametrize("purpose_first", [True, False])
async def test_a_file_has_a_limit(queue: Queue, purpose: str, most: int, purpose_first: bool) -> None:
    body = upload(b"1" * most, purpose=purpose, purpose_first=purpose_first)
    assert (await given(queue, body))[0] == most
    await queue.run(lambda connection: files.discard(connection, f"file-{'7' * 32}"))
    body = upload(b"1" * (most + 1), purpose=purpose, purpose_first=purpose_first)
    with pytest.raises(ClientFault) as caught:
        await given(queue, body)
    assert (caught.value.http_status, caught.value.code) == (413, "file_too_large")
    assert await left(queue) == 0


async def test_a_body_that_says_that_it_is_too_long_is_not_read(queue: Queue) -> None:
    source = Source(b"1")
    with pytest.raises(ClientFault) as caught:
        await receive(queue, exchange(source, 1_000_000), OWNER, 1000, 500, 10_000)
    assert (caught.value.http_status, source.given) == (413, 0)


async def test_a_file_that_is_too_long_is_not_read_to_its_end(queue: Queue) -> None:
    source = Source(*[upload(b"1" * 2000)[:1600]], *[b"1" * 100] * 50)
    with pytest.raises(ClientFault):
        await receive(queue, exchange(source), OWNER, 1000, 500, 10_000)
    assert source.given == 1600


async def test_all_files_have_a_limit_together(queue: Queue) -> None:
    with pytest.raises(Overload) as caught:
        await given(queue, upload(b"1" * 300), room=299)
    assert (caught.value.http_status, caught.value.code) == (503, "batch_files_full")
    assert await left(queue) == 0
    await queue.run(lambda connection: files.sweep(connection, 0, 100))
    assert (await given(queue, upload(b"1" * 300), room=300))[0] == 300


@pytest.mark.parametrize(
    "end", [ClientGone(), ClientFault("?", code="malformed_body"), asyncio.CancelledError(), RuntimeError("?")]
)
async def test_a_body_that_breaks_off_leaves_nothing(queue: Queue, end: BaseException) -> None:
    with pytest.raises(type(end)):
        await given(queue, upload(b"1" * 300)[:250], end)
    assert await left(queue) == 0


async def test_a_body_that_ends_early_leaves_nothing(queue: Queue) -> None:
    with pytest.raises(ClientFault) as caught:
        await given(queue, upload(b"1" * 300)[:-10])
    assert caught.value.code == "malformed_form"
    assert await left(queue) == 0


async def test_a_file_is_not_seen_before_it_is_whole(queue: Queue) -> None:
    seen: list[object] = []

    class Looking(Source):
        async def read(self) -> bytes:
            piece = await super().read()
            seen.append(await queue.read(lambda connection: files.find(connection, OWNER, f"file-{'7' * 32}", 0)))
            return piece

    body = upload(b"1" * 300)
    await receive(queue, exchange(Looking(body[:250], body[250:])), OWNER, 1000, 500, 10_000)
    assert seen == [None, None, None]
