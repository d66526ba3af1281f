"""A recorder with a live export, which `test_export.py` kills and whose disk it fills; run with `python -m`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from threading import Event

import zstandard

from exporters.delivery import Limits
from exporters.jsonl import JsonlSink, Rotation
from exporters.record import Begin
from exporters.recorder import Recorder
from exporters.sink import Batch, SinkUnavailable
from exporters.spool import SpoolWriter
from tests.unit.exporters.spooled import record


def make_recorder(root: Path) -> Recorder:
    """One with small batches and small files, so that a kill meets it in the middle of something."""
    sink = JsonlSink(root / "out" / "calls.jsonl", rotation=Rotation(bytes_max=60_000))
    return Recorder(
        root / "spool",
        root / "checkpoints",
        [sink],
        lambda record: record,
        limits=Limits(batch_records_max=20, batch_age_max_s=0.005, poll_s=0.002),
        sweep_s=0.01,
        drain_timeout_s=100.0,
    )


def spool(root: Path, count: int) -> None:
    """Exchanges 1 to `count`."""
    writer = SpoolWriter(root / "spool", 0)
    for number in range(1, count + 1):
        item = record(number)
        writer.begin(
            Begin(request_id=item.request_id, trace_id="", span_id="", start_ns=1, method="POST", path="/v1/responses")
        )
        writer.append(item)
    writer.close()


def fill(disk: Path) -> None:
    """Write until the disk is full; make room, and write what did not fit. Prints how many records there were."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    sink = JsonlSink(disk / "calls.jsonl", rotation=Rotation(bytes_max=100_000))
    number = 0
    while True:
        number += 1
        batch = Batch(f"token-{number}", [record(number * 10 + place) for place in range(10)])
        try:
            sink.write(batch)
        except SinkUnavailable as error:
            why = str(error)
            break
    assert number > 10
    assert why.endswith("its disk is full")
    ballast.unlink()
    for again in range(number - 3, number + 4):
        sink.write(Batch(f"token-{again}", [record(again * 10 + place) for place in range(10)]))
    sink.close()
    lines = [line for path in disk.glob("calls*") for line in read_lines(path)]
    expected = sorted(f"req-{one * 10 + place}" for one in range(1, number + 4) for place in range(10))
    assert sorted(lines) == expected
    print(len(lines))  # noqa: T201


def read_lines(path: Path) -> list[str]:
    """The request ids of an exported file, whole lines all."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    assert not data or data.endswith(b"\n")
    return [json.loads(line)["request_id"] for line in data.splitlines()]


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(Path(sys.argv[2]))
    else:
        make_recorder(Path(sys.argv[2])).run(Event())
