"""A process that is dead or hangs ends the others with a sentence, so that the launcher can start all again."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from torch.distributed import Store  # type: ignore[attr-defined]

from malmoi.parallel.stragglers import Stragglers

ENDED = 75
"""Exit code of a process that another one's failure ends: EX_TEMPFAIL of sysexits.h, try again."""

STEPS_OF_PATIENCE = 10
"""A process may always stand still for as long as so many steps take."""

_END = "malmoi/watchdog/end"


class Limits(NamedTuple):
    """Seconds.

    Attributes:
        silence: without a sign of life after which a process counts as dead or stopped.
        patience: that a process may stand still while the others wait for it, at least.
        first: the same before the length of a step is known: compiling, connecting, reading.
        interval: between two signs.
    """

    silence: float = 30.0
    patience: float = 60.0
    first: float = 600.0
    interval: float = 2.0


class Sign(NamedTuple):
    """A sign of life.

    Attributes:
        beat: counts the signs.
        moves: counts the changes of phase: who has fewest is the one that the others wait for.
        seconds: in this phase.
        patient: whether the phase may take as long as it wants.
    """

    beat: int
    moves: int
    step: int
    phase: str
    seconds: float
    patient: bool
    machine: str
    pid: int
    done: bool

    @property
    def place(self) -> str:
        """Where the process stands."""
        return f"step {self.step}, {self.phase}"


class Watchdog:
    """Inside, this process gives signs of life, looks for its neighbour's, and ends when the training cannot go on.

    Every process watches the next one, so that many watch as cheaply as few; who finds one missing tells all, and all
    end with `ENDED`. With a count of 1 nothing is watched.

    Args:
        store: where the processes leave messages for each other; a clone of it is used from another thread.
        index, count: of this process, and how many there are.
        end: called with the exit code, from that thread.
    """

    def __init__(
        self,
        store: Store | None,
        index: int,
        count: int,
        limits: Limits | None = None,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self._index, self._count, self._limits, self._end = index, count, limits or Limits(), end
        self._store = store.clone() if store is not None and count > 1 else None  # type: ignore[attr-defined]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._place = (0, 0, "start", time.monotonic(), False)
        self._beats = 0
        self._seen = (-1, time.monotonic())  # the neighbour's last beat, and when it came
        self._stepped: float | None = None
        self._steps: deque[float] = deque(maxlen=100)
        self._stragglers = Stragglers(index, count)

    def __enter__(self) -> Watchdog:
        if self._store is not None:
            self._store.set_timeout(timedelta(seconds=self._limits.silence))
            self._sign()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            return
        self._stopped.set()
        self._thread.join(self._limits.silence)
        with suppress(RuntimeError):  # the store may be gone by now
            if kind is not None and not issubclass(kind, SystemExit):
                self._tell(f"Process {self._index} ended with an error in {self._now().place}.")
            self._sign(done=True)

    def phase(self, name: str, step: int, *, patient: bool = False) -> None:
        """Say what this process does from now on; every process has the same phases in the same order.

        Args:
            patient: it may take as long as it wants while the others wait, such as writing samples.
        """
        self._place = (self._place[0] + 1, step, name, time.monotonic(), patient)

    def step(self, step: int, own_seconds: float) -> list[str]:
        """Say that a step is done, and how long this process worked on it without waiting for others.

        Returns:
            sentences about slow processes, see `Stragglers.add`.
        """
        now = time.monotonic()
        if self._stepped is not None:
            self._steps.append(now - self._stepped)
        self._stepped = now
        return self._stragglers.add(step, own_seconds) if self._store is not None else []

    def _watch(self) -> None:
        """The other thread."""
        assert self._store is not None
        answered = time.monotonic()
        while not self._stopped.wait(self._limits.interval):
            try:
                self._sign()
                sentence = self._told() or self._silent() or self._hanging()
                self._stragglers.exchange(self._store)
                answered = time.monotonic()
            except RuntimeError:  # of the store
                gone = time.monotonic() - answered
                sentence = f"The launcher has not answered for {gone:.0f} s." if gone > self._limits.silence else ""
            if sentence and not self._stopped.is_set():
                print(f"malmoi: {sentence}", file=sys.stderr, flush=True)
                self._end(ENDED)
                return

    def _now(self, done: bool = False) -> Sign:
        moves, step, phase, since, patient = self._place
        seconds = time.monotonic() - since
        return Sign(self._beats, moves, step, phase, seconds, patient, _machine(), os.getpid(), done)

    def _sign(self, done: bool = False) -> None:
        assert self._store is not None
        self._beats += 1
        self._store.set(_key(self._index), json.dumps(self._now(done)))

    def _read(self, index: int) -> Sign | None:
        """The last sign of a process; None before its first."""
        assert self._store is not None
        return Sign(*json.loads(self._store.get(_key(index)))) if self._store.check([_key(index)]) else None

    def _tell(self, sentence: str) -> str:
        """Tell all why they end. What was told first counts; empty where that was another's."""
        assert self._store is not None
        mine = json.dumps([self._index, sentence])
        return sentence if self._store.compare_set(_END, "", mine).decode() == mine else ""

    def _told(self) -> str:
        """End when another one has told to; one process of every machine says why."""
        assert self._store is not None
        if not self._store.check([_END]):
            return ""
        author, sentence = json.loads(self._store.get(_END))
        if author != self._index and not self._stopped.wait(self._limits.interval):  # unless it ends by itself just now
            if os.environ.get("LOCAL_RANK", "0") == "0":
                print(f"malmoi: {sentence}", file=sys.stderr, flush=True)
            self._end(ENDED)
        return ""

    def _silent(self) -> str:
        """A sentence if the next process gives no sign of life."""
        following = (self._index + 1) % self._count
        sign, now = self._read(following), time.monotonic()
        beat = sign.beat if sign else -1
        if beat != self._seen[0] or (sign and sign.done):
            self._seen = (beat, now)
        quiet = now - self._seen[1]
        if sign is None:
            return (
                self._tell(f"Process {following} has not come for {quiet:.0f} s.") if quiet > self._limits.first else ""
            )
        if quiet < self._limits.silence:
            return ""
        _kill(sign)
        return self._tell(f"Process {following} has said nothing for {quiet:.0f} s; it was in {sign.place}.")

    def _hanging(self) -> str:
        """A sentence if this process has stood still for too long: about the one that all wait for."""
        own = self._now()
        if own.patient or own.seconds < self._patience():
            return ""
        signs = ((index, self._read(index)) for index in range(self._count) if index != self._index)
        running = {self._index: own} | {index: sign for index, sign in signs if sign is not None and not sign.done}
        index, behind = min(running.items(), key=lambda one: one[1].moves)
        if behind.patient or behind.seconds < self._patience():
            return ""
        stood = f"for {behind.seconds:.0f} s"
        if len({sign.moves for sign in running.values()}) == 1:
            return self._tell(f"No process has gone on {stood}; all are in {behind.place}.")
        sentence = self._tell(f"Process {index} has been in {behind.place}, {stood}, and the others wait for it.")
        if sentence and index != self._index:  # one that has told so itself is about to say it and to end
            _kill(behind)
        return sentence

    def _patience(self) -> float:
        """Seconds that a process may stand still."""
        if len(self._steps) < 3:
            return self._limits.first
        return max(self._limits.patience, STEPS_OF_PATIENCE * statistics.median(self._steps))


def _key(index: int) -> str:
    return f"malmoi/watchdog/{index}"


def _kill(sign: Sign) -> None:
    """End a process that cannot end by itself, if it is on this machine: the launcher would wait for it."""
    if sign.machine == _machine():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(sign.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _machine() -> str:
    """Processes with the same answer can send each other signals."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(space) if space.is_symlink() else ''}"
