"""A signal ends a run after the step it is in, with a checkpoint; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from transformers import TrainerCallback

from .machine import Machine

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """`asked` once a signal came, `stopped` once training was left off for it: not when it was over with that step.
    Outside of training a signal is a `KeyboardInterrupt` at once."""

    def __init__(self, machine: Machine) -> None:
        self.asked = self.stopped = False
        self._machine = machine
        self._training = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Signals are heard meanwhile. Only the main thread hears any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._training:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._training = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._training = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # All processes save together or none does, though each may hear the signal in another step.
        if self._machine.any(self.asked) and not control.should_training_stop:
            self.asked = self.stopped = True
            control.should_log = control.should_save = control.should_training_stop = True
            control.should_evaluate = False
