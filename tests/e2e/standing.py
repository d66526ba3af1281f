"""A command of Penstock that stands still by itself at a moment that a test names: it is there however late one looks.

standing = Standing(tmp_path, "log.jsonl", 7)      # when it writes to a file of this name for the seventh time
process = Popen([sys.executable, *standing.program, "finetune", ...])
standing.wait(process)
process.send_signal(signal.SIGINT)                 # or kill()
standing.go_on()                                   # where the signal alone does not make it
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

WITHIN_S = 100.0


class Standing:
    """One such moment of one process: before it opens a file for the `number`th time, for writing."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self._there, self._go = folder / f"{name}.there", folder / f"{name}.go"
        self._arguments = (name, str(number), str(self._there), str(self._go))

    @property
    def program(self) -> tuple[str, ...]:
        """What takes the place of `-m proxy`."""
        return ("-c", _PROGRAM, *self._arguments)

    def wait(self, process: subprocess.Popen[str]) -> None:
        """Until it stands there. Raises `AssertionError` when it ends before."""
        deadline = time.monotonic() + WITHIN_S
        while not self._there.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, f"it did not come to {self._there.stem}"
            time.sleep(0.01)

    def go_on(self) -> None:
        self._go.touch()


_PROGRAM = """
import os, sys, time
name, number, there, go = (sys.argv.pop(1) for _ in range(4))
left = int(number)

def stand(event, arguments):
    global left
    if event == "open" and str(arguments[0]).endswith(name) and set(str(arguments[1])) & set("wxa"):
        left -= 1
        if left == 0:
            os.close(os.open(there, os.O_CREAT | os.O_WRONLY))
            while not os.path.exists(go):
                time.sleep(0.01)

sys.addaudithook(stand)
from proxy.cli import main
main()
"""
