"""SIGHUP: the configuration changes under load, and no call is lost, doubled or refused."""

from __future__ import annotations

import errno
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.ports import held_port
from tests.wire.lifecycle import Load, Supervised, alive, kill, until

ALL = {"worker": 1, "dispatcher": 1, "recorder": 1}


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (1, 3), (3, 1)])
async def test_no_call_fails_while_workers_are_replaced(tmp_path: Path, before: int, after: int) -> None:
    with Supervised(tmp_path, workers=before, concurrent_max=1) as house:
        async with Load(house.note.port) as load:
            await load.until(lambda: load.answered_by.total() > 50, "calls before the reload")
            house.configure(workers=after, concurrent_max=2)
            kill(house.pid, signal.SIGHUP)
            await load.until(lambda: "loaded anew" in house.log, "the reload")
            await load.until(lambda: answered(load, 2) > 50, "calls after the reload")
        served = house.served()
        assert {path: served[path] for path in load.sent} == dict.fromkeys(load.sent, 1)
        assert {generation for _, generation in load.answered_by} == {1, 2}
        assert len({pid for pid, generation in load.answered_by if generation == 2}) <= after


async def test_the_old_worker_answers_until_the_new_one_is_ready(tmp_path: Path) -> None:
    with Supervised(tmp_path, concurrent_max=1) as house:
        until(lambda: len(house.children()) == 3, "a worker, the dispatcher and the recorder")
        house.configure(concurrent_max=2, header_bytes_max=14)
        kill(house.pid, signal.SIGHUP)
        until(lambda: house.begun()["worker"] == 2, "the new worker")
        async with Load(house.note.port) as load:
            await load.until(lambda: load.answered_by.total() > 50, "calls meanwhile")
            assert {generation for _, generation in load.answered_by} == {1}
            (house.data_dir / "go").touch()
            await load.until(lambda: answered(load, 2) > 0, "the new worker")


def answered(load: Load, by: int) -> int:
    """Calls that workers of this generation answered."""
    return sum(count for (_, generation), count in load.answered_by.items() if generation == by)


async def test_three_reloads_in_a_row(tmp_path: Path) -> None:
    with Supervised(tmp_path, workers=2, concurrent_max=1) as house:
        async with Load(house.note.port) as load:
            for generation in (2, 3, 4):
                house.configure(concurrent_max=generation)
                kill(house.pid, signal.SIGHUP)
                wanted = generation - 1
                await load.until(lambda wanted=wanted: house.log.count("loaded anew") == wanted, "the reload")
        served = house.served()
        assert all(served[path] == 1 for path in load.sent)


async def test_the_old_worker_finishes_what_is_open(tmp_path: Path) -> None:
    with Supervised(tmp_path, concurrent_max=1) as house:
        async with Load(house.note.port, clients=1) as load:
            await load.until(lambda: load.answered_by.total() > 5, "a worker")
            (old,) = load.answered_by
            kill(house.pid, signal.SIGHUP)
            await load.until(lambda: "loaded anew" in house.log and not alive(old[0]), "the old one to end")
        assert "killed" not in house.log


async def test_a_malformed_configuration_changes_nothing(tmp_path: Path) -> None:
    with Supervised(tmp_path, concurrent_max=7) as house:
        before = house.fetch("/")
        house.settings_path.write_text('{"server": {"prot": 1}}')
        kill(house.pid, signal.SIGHUP)
        until(lambda: "was not changed" in house.log, "the refusal")
        assert house.fetch("/") == before
        (refusal,) = [line for line in house.log.splitlines() if "was not changed" in line]
        assert "prot" in refusal
        assert "Traceback" not in house.log


async def test_the_note_says_what_is_in_use_and_what_was_refused(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        first = house.note
        assert first.loaded == first.started
        began = time.time()
        kill(house.pid, signal.SIGHUP)
        until(lambda: (note := house.serving()) and note.loaded >= began, "the new configuration in the note")
        house.settings_path.write_text('{"server": {"prot": 1}}')
        again = time.time()
        kill(house.pid, signal.SIGHUP)
        note = until(lambda: (note := house.serving()) and note.refused >= again and note, "the refusal in the note")
        assert "prot" in note.refusal
        assert began <= note.loaded < again


async def test_a_reload_that_is_asked_for_during_another_comes_after_it(tmp_path: Path) -> None:
    with Supervised(tmp_path, concurrent_max=1) as house:
        until(lambda: len(house.children()) == 3, "a worker, the dispatcher and the recorder")
        house.configure(concurrent_max=2, header_bytes_max=14)  # its worker waits for a sign
        kill(house.pid, signal.SIGHUP)
        until(lambda: house.begun()["worker"] == 2, "the new worker")
        house.configure(concurrent_max=3)
        kill(house.pid, signal.SIGHUP)
        (house.data_dir / "go").touch()
        until(lambda: (found := house.fetch("/")) and found[1] == 3, "a worker of the last configuration")
        assert house.log.count("loaded anew") >= 1


async def test_workers_that_cannot_serve_by_the_new_configuration_do_not_replace_the_old(tmp_path: Path) -> None:
    with Supervised(tmp_path, workers=2) as house:
        until(lambda: len(house.children()) == 4, "two workers, the dispatcher and the recorder")
        before = house.children()
        house.configure(header_bytes_max=13)
        kill(house.pid, signal.SIGHUP)
        until(lambda: "no worker can serve by it" in house.log, "the refusal")
        async with Load(house.note.port) as load:
            await load.until(lambda: load.answered_by.total() > 50, "calls")
        until(lambda: house.children() == before, "those to end that could not serve")


async def test_a_new_port_is_served_before_the_old_one_closes(tmp_path: Path) -> None:
    with held_port() as port, Supervised(tmp_path, workers=1) as house:
        old = house.note.port
        house.configure(port=port)
        kill(house.pid, signal.SIGHUP)
        note = until(lambda: (note := house.serving()) and note.port == port and note, "the new port in the note")
        house.note = note
        assert house.fetch("/") is not None
        until(lambda: refuses(old), "the old port to close, which its worker has as long as it lives")


def refuses(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_an_occupied_new_port_changes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Supervised(tmp_path) as house:
        before = house.fetch("/")
        house.configure(port=other.getsockname()[1])
        kill(house.pid, signal.SIGHUP)
        until(lambda: "is occupied" in house.log, "the refusal")
        assert house.fetch("/") == before


async def test_the_recorder_is_restarted_only_when_its_part_changed(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        ended = house.data_dir / "ended"
        until(lambda: house.begun() == ALL, "the worker, the recorder and the dispatcher")
        kill(house.pid, signal.SIGHUP)
        until(lambda: house.log.count("loaded anew") == 1, "the reload")
        until(lambda: ended.exists() and ended.read_text(), "the end of the old worker")
        assert ended.read_text() == "worker\n"
        house.settings_path.write_bytes(
            house.settings_path.read_bytes().replace(b'"retention_days":90', b'"retention_days":9')
        )
        kill(house.pid, signal.SIGHUP)
        until(lambda: house.log.count("loaded anew") == 2, "the reload")
        assert "recorder\n" in ended.read_text()
        assert "dispatcher\n" not in ended.read_text()


async def test_the_dispatcher_is_restarted_only_when_its_part_changed(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        ended = house.data_dir / "ended"
        until(lambda: house.begun() == ALL, "the worker, the recorder and the dispatcher")
        settings = house.settings_path.read_bytes()
        house.settings_path.write_bytes(settings.replace(b'"window_s":60', b'"window_s":30'))
        kill(house.pid, signal.SIGHUP)
        until(lambda: house.log.count("loaded anew") == 1, "the reload")
        assert "dispatcher\n" in ended.read_text()
        until(lambda: len(house.children()) == 3, "the next dispatcher")
        house.settings_path.write_bytes(settings.replace(b'"batch":{"enabled":true', b'"batch":{"enabled":false'))
        kill(house.pid, signal.SIGHUP)
        until(lambda: house.log.count("loaded anew") == 2, "the reload")
        until(lambda: len(house.children()) == 2, "no dispatcher any more")
