"""The same rows give the same bytes, more rows move none, and a build that is stopped leaves nothing half made."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporters.datasets.building.build import build
from exporters.datasets.describing.manifest import finish, read
from exporters.datasets.selecting.select import ClickHouseSource
from exporters.datasets.selecting.source import Slice
from tests.e2e.standing import Standing
from tests.wire.test_spool_full_disk import IN_ITS_OWN_MOUNTS, may_mount

from .house import ROOT, Dataset, House


class ManyAtOnce(ClickHouseSource):
    """In slices of 200 rows that claim to be larger, so that several processes read them."""

    def __init__(self, url: str, options: Any) -> None:
        super().__init__(url, options, slice_rows_max=200)

    def slices(self) -> Sequence[Slice]:
        return [msgspec.structs.replace(part, rows=50_000) for part in super().slices()]


def test_the_same_rows_give_the_same_bytes(house: House, built: Dataset) -> None:
    before = built.bytes
    done = house.run("rebuild", "all-of-it")
    assert done.returncode == 0, done.stderr
    assert sorted(name for name, data in built.bytes.items() if before.get(name) != data) == []


def test_several_processes_and_other_slices_give_the_same_bytes(house: House, built: Dataset, tmp_path: Path) -> None:
    options = read(built.folder).options
    source = ManyAtOnce(house.store.url("reader"), options)
    assert len(source.slices()) > 10
    build(options, source, tmp_path, finish)
    made = Dataset(tmp_path / options.name).bytes
    assert made.keys() == built.bytes.keys()
    assert sorted(name for name, data in built.bytes.items() if made[name] != data) == []


def test_more_rows_move_none_to_another_split(house: House, built: Dataset) -> None:
    where = house.all_of_it[1].replace("'later'", "'nothing'")
    grown = house.build("grown", "--where", where, *house.all_of_it[2:])
    assert grown.manifest["selected"] >= 1.3 * built.manifest["selected"]
    before, after = built.splits, grown.splits
    assert Counter((before[one], after[one]) for one in before.keys() & after.keys() if before[one] != after[one]) == {}
    lost = before.keys() - after.keys()
    assert len(lost) < 0.01 * len(before), "but for what is in another split now"
    assert {grown.fates[one].name for one in lost} <= {"CROSSES_SPLITS", "EXACT_DUPLICATE", "NEAR_DUPLICATE"}
    assert len(after) > 1.3 * len(before)


@pytest.fixture
def standing(tmp_path: Path) -> Standing:
    """When rows of the corpus wait in the building folder, and the first of what is known of them is written."""
    return Standing(tmp_path, ".rows.npy", 1)


def test_a_build_that_is_killed_leaves_what_was_there_and_the_next_one_cleans_up(
    house: House, standing: Standing
) -> None:
    kept = house.build("killed", "--tag", "with=images")
    before = kept.bytes
    process = house.start("build", "killed", *house.all_of_it, "--replace", program=standing.program)
    standing.wait(process)
    assert [*house.root.glob(".*/parts/*.spill")]
    process.kill()
    process.communicate()
    assert kept.bytes == before
    assert len(house.unfinished()) == 1
    house.build("killed", "--tag", "with=images", "--replace")
    assert house.unfinished() == []
    assert kept.bytes.keys() == before.keys()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_leaves_nothing(house: House, standing: Standing, number: signal.Signals) -> None:
    process = house.start("build", "interrupted", *house.all_of_it, program=standing.program)
    standing.wait(process)
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "Traceback" not in said
    assert house.unfinished() == []
    assert not (house.root / "interrupted").exists()


@pytest.mark.skipif(not may_mount(), reason="no right to mount a file system of one's own")
def test_a_full_disk_leaves_nothing(house: House, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["build", "full", *house.all_of_it, "--root", str(disk / "sets"), "--config", "penstock.toml"]
    command = f'{sys.executable} -m proxy dataset "$@"'
    script = f"mount -t tmpfs -o size=600k tmpfs {disk}; {command} || echo status $?; ls -A {disk}/sets | wc -l"
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/bin:/usr/bin"}
    run = [*IN_ITS_OWN_MOUNTS, script, "sh", *words]
    done = subprocess.run(run, capture_output=True, text=True, timeout=100, cwd=house.folder, env=environ)
    assert done.stdout.split("\n")[:2] == ["status 1", "0"], done.stdout + done.stderr
    assert "is full" in done.stderr
    assert "Traceback" not in done.stderr
