"""Functions that run in several processes of one machine, which form a gloo group."""

import importlib.util
import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

PATIENCE = 120
"""Seconds for all of it; a process that waits for another one gives up after half of them."""


def run_on(processes: int, function: Callable, *arguments: Any) -> list[Any]:
    """What `function(*arguments)` gives in each of so many processes, by rank.

    Args:
        function: stands at the top of a test module; the group is there when it is called.
        arguments: can be pickled, as what it returns.

    Raises:
        AssertionError: with the traceback of the first process that failed.
    """
    context = multiprocessing.get_context("forkserver")  # imports once what every process needs
    context.set_forkserver_preload(["torch", "torch.distributed.tensor", "torch.distributed.pipelining"])
    place = (function.__code__.co_filename, function.__name__)
    with tempfile.TemporaryDirectory() as directory:
        running, ends = [], []
        for rank in range(processes):
            end, other = context.Pipe(duplex=False)
            task = (rank, processes, str(Path(directory, "store")), place, arguments)
            running.append(context.Process(target=_work, args=(other, *task), daemon=True))
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
        assert ready, f"only the processes {sorted(results)} of {len(ends)} came to an end"
        for end in ready:
            rank = ends.index(end)
            try:
                succeeded, results[rank] = pickle.loads(end.recv_bytes())
            except EOFError:
                raise AssertionError(f"process {rank} died") from None
            assert succeeded, f"process {rank}:\n{results[rank]}"
    return [results[rank] for rank in range(len(ends))]


def _work(
    end: Connection, rank: int, processes: int, store: str, place: tuple[str, str], arguments: tuple[Any, ...]
) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo",
            store=distributed.FileStore(store, processes),
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=PATIENCE / 2),
        )
        specification = importlib.util.spec_from_file_location(Path(place[0]).stem, place[0])
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        answer = (True, getattr(module, place[1])(*arguments))
        distributed.barrier()
        distributed.destroy_process_group()
    except BaseException:
        answer = (False, traceback.format_exc())
    end.send_bytes(pickle.dumps(answer))
