"""The processes of a training on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence

from malmoi.core.console import error_console, verbatim
from malmoi.core.device import usable_cores
from malmoi.parallel.launch.settings import SAVING, SIGNALS

REFUSED = 2
"""Exit code of a process whose settings are wrong: another start would end the same way."""


def launch_local(words: Sequence[str], processes: int, restarts: int = 3) -> int:
    """Run `malmoi WORDS` in several processes under torchrun's agent until all are done.

    When one fails, the others are ended and all are started again: they go on from the last checkpoint. A signal is
    handed on, so that they save before they end.

    Returns:
        the exit code: 0, 2 for a user's mistake, 128 + the signal's number, or that of the process that failed first.
    """
    for attempt in range(restarts + 1):
        code, failure = _attempt(words, processes)
        if not failure:
            return code
        if code == REFUSED:
            return code
        last = attempt == restarts
        error_console.print(
            f"[yellow]{verbatim(failure)}{'' if last else ' All start again from the last checkpoint.'}[/yellow]"
        )
    return code


def _attempt(words: Sequence[str], processes: int) -> tuple[int, str]:
    """The exit code of one start, and a sentence if a process failed."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the sentence says it in words
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle=SIGNALS,
    )
    with _environment(processes):
        try:
            elastic_launch(config, sys.executable)("-m", "malmoi", *words)
        except ChildFailedError as error:
            index, first = error.get_first_failure()
            if first.exitcode < 0:
                name = signal.Signals(-first.exitcode).name
                return 128 - first.exitcode, f"Process {index} was ended by {name}."
            return first.exitcode, f"Process {index} ended with exit code {first.exitcode}."
        except SignalException as stopped:
            return 128 + stopped.sigval, ""
    return 0, ""


@contextlib.contextmanager
def _environment(processes: int) -> Iterator[None]:
    """The cores divided among the processes, unless the user did it, and time to save."""
    given = {
        "OMP_NUM_THREADS": str(max(1, usable_cores() // processes)),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVING),
    }
    added = {name: value for name, value in given.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
