"""Live calls as the dispatcher sees them, and the room that they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.batching.live.load import Gauge, Load
from proxy.batching.live.room import Room


def test_a_gauge_sees_the_calls_of_all_workers(tmp_path: Path) -> None:
    one, other, elsewhere = (Load.open(tmp_path, name) for name in ("llama", "llama", "vllm"))
    gauge = Gauge(tmp_path, "llama")
    gauge.scan()
    one.enter()
    one.enter()
    other.enter()
    elsewhere.enter()
    assert (gauge.live(), one.open_calls) == (3, 2)
    one.leave()
    assert gauge.live() == 2
    one.close()
    gauge.scan()
    assert gauge.live() == 1
    for load in (one, other, elsewhere):
        load.close()
    gauge.scan()
    assert (gauge.live(), os.listdir(tmp_path / "batch" / "load")) == (0, [])
    gauge.close()


def test_nothing_is_seen_before_there_is_a_worker(tmp_path: Path) -> None:
    gauge = Gauge(tmp_path, "llama")
    gauge.scan()
    assert gauge.live() == 0


def test_calls_of_a_killed_worker_are_not_believed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from proxy.batching.live.load import Load\n"
        "load = Load.open(Path(sys.argv[1]), 'llama'); load.enter(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        gauge = Gauge(tmp_path, "llama")
        gauge.scan()
        assert gauge.live() == 1
        worker.send_signal(signal.SIGKILL)
        worker.wait(60)
    gauge.scan()
    assert gauge.live() == 0
    assert os.listdir(tmp_path / "batch" / "load") == []


def test_a_disk_that_refuses_is_logged_and_costs_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "batch").write_text("no directory")
    load = Load.open(tmp_path, "llama")
    load.enter()
    load.leave()
    load.close()
    assert "do not make room" in caplog.text


class Fake:
    """A gauge that shows what it is told."""

    def __init__(self) -> None:
        self.calls = 0
        self.scans = 0

    def scan(self) -> None:
        self.scans += 1

    def live(self) -> int:
        return self.calls

    def close(self) -> None: ...


class Scene:
    def __init__(self, concurrency: int = 4) -> None:
        self.now_s = 100.0
        self.gauge = Fake()
        self.room = Room(self.gauge, concurrency, lambda: self.now_s)  # type: ignore[arg-type]
        self.room.began()


def test_lines_take_what_live_calls_leave() -> None:
    scene = Scene()
    assert scene.room.free(0, urgent=False) == 4
    scene.gauge.calls = 3
    assert scene.room.free(0, urgent=False) == 1
    assert scene.room.free(1, urgent=False) == 0
    scene.gauge.calls = 9
    assert scene.room.free(0, urgent=False) == 0


def test_a_burst_keeps_its_room_for_four_seconds() -> None:
    scene = Scene()
    scene.gauge.calls = 4
    assert scene.room.free(0, urgent=False) == 0
    scene.gauge.calls = 1
    scene.now_s += 3.9
    scene.room.began()
    assert scene.room.free(0, urgent=False) == 0
    scene.now_s += 0.2
    assert scene.room.free(0, urgent=False) == 3


def test_one_line_runs_after_three_seconds_without_any() -> None:
    scene = Scene()
    scene.gauge.calls = 50
    scene.now_s += 2.9
    assert scene.room.free(0, urgent=False) == 0
    scene.now_s += 0.2
    assert scene.room.free(1, urgent=False) == 0
    assert scene.room.free(0, urgent=False) == 1
    scene.room.began()
    assert scene.room.free(0, urgent=False) == 0


def test_half_of_the_room_is_for_lines_whose_deadline_is_near() -> None:
    scene = Scene(concurrency=5)
    scene.gauge.calls = 50
    assert scene.room.free(0, urgent=True) == 3
    assert scene.room.free(2, urgent=True) == 1
    scene.gauge.calls = 0
    scene.now_s += 5
    assert scene.room.free(0, urgent=True) == 5


def test_workers_are_looked_for_about_once_a_second() -> None:
    scene = Scene()
    for _ in range(10):
        scene.room.look()
        scene.now_s += 0.25
    assert scene.gauge.scans == 3
