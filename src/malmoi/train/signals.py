"""Asked to stop: a training that is told so finishes its step, saves, and ends; the same command goes on from there."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

from malmoi.core.console import error_console

ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""What schedulers send before they take a machine away."""


class StopSignals:
    """Inside, a signal is remembered instead of ending the process; a second one ends it at once.

    Attributes:
        received: which came; None as long as there was none.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {one: signal.signal(one, self._remember) for one in ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def end(self, step: int) -> NoReturn:
        """End this process, after what was done was saved.

        Raises:
            SystemExit: 128 + the signal's number, as a shell counts; SIGTERM's where another process was asked.
        """
        asked = self.received or signal.SIGTERM
        error_console.print(f"malmoi: stopped by {asked.name} after step {step}. The same command goes on from here.")
        raise SystemExit(128 + asked)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for one, before in self._before.items():
            signal.signal(one, before)
        self._before = {}
