"""One Penstock for each data directory, and the note that commands read."""

from __future__ import annotations

import fcntl
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.data_dir import DataDir, DataDirUnusable, Serving, is_served_by, serving

NOTE = Serving(pid=os.getpid(), host="0.0.0.0", port=4100, store_url="", metrics_port=0, started=1.5)


def test_the_note_is_there_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert serving(path) is None
    held = DataDir.claim(path)
    assert serving(path) is None  # nothing is published yet
    held.publish(NOTE)
    assert serving(path) == NOTE
    held.release()
    assert serving(path) is None
    assert not (path / "serve.json").exists()


def test_a_second_claim_names_the_holder(tmp_path: Path) -> None:
    held = DataDir.claim(tmp_path)
    with pytest.raises(DataDirUnusable, match=rf"process {os.getpid()}\) serves from {tmp_path}"):
        DataDir.claim(tmp_path)
    held.release()
    DataDir.claim(tmp_path).release()


def test_who_looks_while_standing_still_keeps_nobody_from_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataDir.claim(tmp_path).release()
    looking = os.open(tmp_path / "serve.lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    waited = itertools.count(1)
    sleep = lambda _: os.close(looking) if next(waited) == 100 else None  # noqa: E731
    monkeypatch.setattr("proxy.data_dir.time", SimpleNamespace(sleep=sleep))
    DataDir.claim(tmp_path).release()
    assert next(waited) == 101


def test_a_killed_holder_leaves_a_note_that_does_not_count(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from proxy.data_dir import *; d = DataDir.claim(pathlib.Path(sys.argv[1]));"
        "d.publish(Serving(pid=1, host='h', port=1, store_url='', metrics_port=0, started=0)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=False)
    assert (tmp_path / "serve.json").exists()
    assert serving(tmp_path) is None
    held = DataDir.claim(tmp_path)
    assert held.unclean
    held.release()
    held = DataDir.claim(tmp_path)
    assert not held.unclean
    held.release()


def test_a_process_is_known_by_the_lock_that_it_holds(tmp_path: Path) -> None:
    held = DataDir.claim(tmp_path)
    assert is_served_by(tmp_path, os.getpid())
    assert not is_served_by(tmp_path, os.getppid())
    assert not is_served_by(tmp_path, 2**22 + 1)  # beyond what a pid can be
    held.release()
    assert not is_served_by(tmp_path, os.getpid())


def test_a_directory_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirUnusable, match=r"Cannot write to the data directory .*/file/below: Not a directory\."):
        DataDir.claim(tmp_path / "file" / "below")


def test_a_directory_without_room_is_one_line() -> None:
    with pytest.raises(DataDirUnusable, match="Cannot write to the data directory /proc/self/nowhere"):
        DataDir.claim(Path("/proc/self/nowhere"))


def test_a_damaged_note_is_no_note(tmp_path: Path) -> None:
    held = DataDir.claim(tmp_path)
    (tmp_path / "serve.json").write_text("{")
    assert serving(tmp_path) is None
    held.release()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4100"),
        ("0.0.0.0", "http://127.0.0.1:4100"),
        ("::", "http://[::1]:4100"),
        ("::1", "http://[::1]:4100"),
        ("example.org", "http://example.org:4100"),
    ],
)
def test_the_url_for_clients_on_this_machine(host: str, url: str) -> None:
    assert Serving(pid=1, host=host, port=4100, store_url="", metrics_port=0, started=0).url == url
