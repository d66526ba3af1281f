"""A disk that is really full: a file system of 2 MB, with the spool and the checkpoints on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.spool_processes import FileSink

IN_ITS_OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]


def may_mount() -> bool:
    try:
        return subprocess.run([*IN_ITS_OWN_MOUNTS, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_mount(), reason="no right to mount a file system of one's own")
def test_a_full_disk_drops_what_does_not_fit_and_exports_the_rest(tmp_path: Path) -> None:
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    run = f"{sys.executable} -m tests.wire.spool_processes full {disk} {out}"
    script = f"mount -t tmpfs -o size=2m tmpfs {disk} && exec {run}"
    done = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, script], capture_output=True, text=True, timeout=100, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    outcomes = dict(FileSink.rows(out))
    kept = done.stdout.split()
    assert 100 < len(kept) < 1000
    assert outcomes.keys() >= set(kept)
    assert {outcomes[request_id] for request_id in kept} == {"answered"}
    assert outcomes["after"] == "answered", "there is room again"
