"""Functions that run in several processes of this machine, which form a gloo group."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

PATIENCE = 240
"""Seconds for all of it; a process that waits for another one gives up after half of them."""

Task = tuple[int, int, str, tuple[str, str, str], tuple[Any, ...]]
"""Rank, number of processes, file to meet at, module and file and name of the function, its arguments."""


class ProcessFailed(Exception):
    """One of the processes failed; the message is its traceback."""


def run_on(processes: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(*arguments)` gives in each of so many processes, by rank.

    Args:
        function: stands at the top of a module; the group is there when it is called.
        arguments: can be pickled, as what it returns.

    Raises:
        ProcessFailed: with the traceback of the first process that failed.
    """
    context = multiprocessing.get_context("forkserver")  # imports once what every process needs
    context.set_forkserver_preload(["torch", "torch.distributed.tensor", "torch.distributed.pipelining"])
    place = (function.__module__, function.__code__.co_filename, function.__name__)
    with tempfile.TemporaryDirectory() as directory:
        running, ends = [], []
        for rank in range(processes):
            end, other = context.Pipe(duplex=False)
            task: Task = (rank, processes, str(Path(directory, "store")), place, arguments)
            running.append(context.Process(target=_work, args=(other, task), daemon=True))
            running[-1].start()
            other.close()
            ends.append(end)
        try:
            return _results(ends)
        finally:
            for process in running:
                process.kill()
                process.join()


def _results(ends: list[Connection]) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(ends):
        ready = wait([end for rank, end in enumerate(ends) if rank not in results], timeout=PATIENCE)
        if not ready:
            raise ProcessFailed(f"only the processes {sorted(results)} of {len(ends)} came to an end")
        for end in ready:
            assert isinstance(end, Connection)
            rank = ends.index(end)
            try:
                succeeded, results[rank] = pickle.loads(end.recv_bytes())
            except EOFError:
                raise ProcessFailed(f"process {rank} died") from None
            if not succeeded:
                raise ProcessFailed(f"process {rank}:\n{results[rank]}")
    return [results[rank] for rank in range(len(ends))]


def _work(end: Connection, task: Task) -> None:
    rank, processes, store, place, arguments = task
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank))
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo",
            store=distributed.FileStore(store, processes),  # type: ignore[attr-defined]
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=PATIENCE / 2),
        )
        answer = (True, getattr(_module(*place[:2]), place[2])(*arguments))
        distributed.barrier()
        distributed.destroy_process_group()
    except BaseException:
        answer = (False, traceback.format_exc())
    end.send_bytes(pickle.dumps(answer))


def _module(name: str, file: str) -> ModuleType:
    """The module of this name, or where none can be imported by it, as with tests, the one in this file."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        specification = importlib.util.spec_from_file_location(Path(file).stem, file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module
