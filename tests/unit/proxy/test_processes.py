"""How long a dying child is waited for, and what is said of its end."""

from __future__ import annotations

import sys

from proxy.processes import Backoff, _how_it_ended, python_module


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_doubles_to_five_seconds() -> None:
    backoff = Backoff(Clock())
    waits = []
    for _ in range(8):
        backoff.born()
        waits.append(backoff.died())
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_life_is_a_fresh_start() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    for _ in range(5):
        backoff.born()
        backoff.died()
    backoff.born()
    clock.now += 30
    assert backoff.died() == 0.1
    backoff.born()
    clock.now += 29.9
    assert backoff.died() == 0.2


def test_a_module_is_run_without_the_current_folder_on_its_path() -> None:
    assert python_module("proxy.worker", "x") == (sys.executable, "-P", "-m", "proxy.worker", "x")


def test_the_end_of_a_process_in_words() -> None:
    assert _how_it_ended(1) == "ended with status 1"
    assert _how_it_ended(-9) == "was killed by SIGKILL"
    assert _how_it_ended(-250) == "was killed by signal 250"
