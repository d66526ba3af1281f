"""Processes die: workers, the recorder, the supervisor. Somebody serves again, and nothing is left behind."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.data_dir import serving
from tests.wire.lifecycle import PATIENCE_S, Load, Supervised, alive, kill, until

ALL = {"worker": 2, "dispatcher": 1, "recorder": 1}


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        first = house.fetch("/")
        assert first is not None
        kill(first[0])
        second = until(lambda: house.fetch("/"), "the next worker")
        assert second[0] != first[0]
        assert "was killed by SIGKILL and is started again" in house.log


async def test_connections_wait_for_the_next_worker(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        first = house.fetch("/")
        assert first is not None
        kill(first[0])
        until(lambda: not alive(first[0]), "the death")
        async with Load(house.note.port) as load:  # fails if one connection is refused
            await load.until(lambda: load.answered_by.total() > 20, "calls")


def test_a_crash_loop_neither_spins_nor_ends(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        for _ in range(4):
            until(lambda: house.fetch("/"), "a worker")
            assert house.fetch("/crash") is None
        until(lambda: house.fetch("/"), "the last worker")
        times = [line for line in house.log.splitlines() if "ended with status 3" in line]
        assert len(times) == 4
        assert house.process is not None
        assert house.process.poll() is None


def test_sigterm_lets_open_calls_finish_and_leaves_nobody(tmp_path: Path) -> None:
    with Supervised(tmp_path, workers=2, shutdown_timeout_s=PATIENCE_S) as house:
        until(lambda: house.begun() == ALL, "two workers, the dispatcher and the recorder")
        children = house.children()
        with socket.create_connection(("127.0.0.1", house.note.port)) as caller:
            caller.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            until(lambda: house.served()[b"/slow"], "the call to be open")
            kill(house.pid, signal.SIGTERM)
            caller.settimeout(PATIENCE_S)
            assert caller.recv(1000).startswith(b"HTTP/1.1 200")
        assert house.process is not None
        assert house.process.wait(PATIENCE_S) == 0
        assert not any(map(alive, children))
        assert (house.data_dir / "ended").read_text().split() == ["worker", "worker", "dispatcher", "recorder"]
        assert serving(house.data_dir) is None
        assert not (house.data_dir / "serve.json").exists()


def test_a_hung_worker_does_not_outlive_its_time(tmp_path: Path) -> None:
    with Supervised(tmp_path, shutdown_timeout_s=0.0) as house:
        children = house.children()
        with socket.create_connection(("127.0.0.1", house.note.port)) as caller:
            caller.sendall(b"GET /hang HTTP/1.1\r\n\r\n")
            until(lambda: house.served()[b"/hang"], "the worker to hang")
            kill(house.pid, signal.SIGINT)
            until(lambda: "stopping: " in house.log, "the first to be noticed, or the two are one")
            kill(house.pid, signal.SIGINT)
            assert house.process is not None
            assert house.process.wait(PATIENCE_S) == 0
        assert not any(map(alive, children))
        assert "did not end in time and is killed" in house.log


def test_after_a_killed_supervisor_the_next_one_serves_and_the_orphans_end(tmp_path: Path) -> None:
    with Supervised(tmp_path, workers=2) as house:
        until(lambda: house.begun() == ALL, "two workers, the dispatcher and the recorder")
        orphans = house.children()
        port = house.note.port
        house.configure(port=port)
        kill(house.pid)
        house.process and house.process.wait(PATIENCE_S)
        house.start()
        house.note = until(house.serving, "the next supervisor")
        assert house.note.port == port
        until(lambda: (who := house.fetch("/")) and who[0] not in orphans, "its workers")
        until(lambda: not any(map(alive, orphans)), "the orphans to end")


def test_a_port_that_the_orphans_still_hold_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as orphan:
        house = Supervised(tmp_path, port=orphan.getsockname()[1])
        house.data_dir.mkdir()
        (house.data_dir / "serve.json").write_text("{}")  # the former supervisor did not take it away
        house.start()
        until(lambda: "is still held" in house.log, "the first try")
    try:
        until(house.serving, "the supervisor")
    finally:
        house.__exit__()


@pytest.mark.parametrize("open_calls", [0, 1])
def test_orphans_finish_open_calls(tmp_path: Path, open_calls: int) -> None:
    with Supervised(tmp_path) as house, contextlib.ExitStack() as callers:
        sockets = [
            callers.enter_context(socket.create_connection(("127.0.0.1", house.note.port))) for _ in range(open_calls)
        ]
        for caller in sockets:
            caller.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        until(lambda: house.served()[b"/slow"] == open_calls, "the calls to be open")
        orphans = house.children()
        kill(house.pid)
        for caller in sockets:
            caller.settimeout(PATIENCE_S)
            assert caller.recv(1000).startswith(b"HTTP/1.1 200")
        until(lambda: not any(map(alive, orphans)), "the orphans to end")


def _refused(house: Supervised) -> str:
    """Start a supervisor that must refuse, and give back what it said."""
    process = house.start()
    process.wait(PATIENCE_S)
    assert process.returncode != 0
    return house.log


def test_an_occupied_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = _refused(Supervised(tmp_path, port=port))
    assert f"Port {port} on 127.0.0.1 is occupied" in said
    assert "server.port" in said


def test_a_port_shared_by_somebody_else_with_reuseport_is_occupied_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        said = _refused(Supervised(tmp_path, port=other.getsockname()[1]))
    assert "is occupied" in said


def test_a_second_supervisor_on_the_same_directory_names_the_first(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        second = Supervised(tmp_path / "data" / "..")
        second.log_path = tmp_path / "second.log"
        said = _refused(second)
        assert f"Another Penstock (process {house.pid}) serves from" in said
        assert house.fetch("/") is not None


def test_an_unwritable_directory_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the directory should be")
    assert "Cannot write to the data directory" in _refused(Supervised(tmp_path))


def test_a_child_without_a_supervisor_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy.recording"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert b"started by `penstock serve`" in done.stderr
    assert b"Traceback" not in done.stderr
