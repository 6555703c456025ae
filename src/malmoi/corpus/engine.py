"""Runs plain functions over tasks: one after the other, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Literal, TypeVar

from malmoi.core.errors import MissingExtra, UserError

Engine = Literal["processes", "ray"]
Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, engine: Engine = "processes"
) -> Iterator[Result]:
    """The results of `function` for all tasks, as they come. Function, tasks and results must be picklable.

    Args:
        workers: processes; 1 runs everything in this one. A Ray cluster uses what it has.

    Raises:
        UserError: what the function raised, or a worker died.
    """
    if engine == "ray":
        yield from _run_on_ray(function, tasks)
    elif workers == 1:
        yield from map(function, tasks)
    else:
        yield from _run_in_processes(function, tasks, workers)


def _run_in_processes(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
        futures = [pool.submit(_portable, function, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield _unpack(future.result())
        except BrokenProcessPool:
            raise UserError(
                "A worker process was killed: the memory ran out, or a damaged file brought a library down.",
                "Run the same command again with workers=1, where the file shows; what is finished is kept.",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_on_ray(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray", "engine: ray") from None
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), include_dashboard=False, log_to_driver=False)
    remote = ray.remote(_portable)
    waiting = [remote.remote(function, task) for task in tasks]
    while waiting:
        done, waiting = ray.wait(waiting)
        for reference in done:
            yield _unpack(ray.get(reference))


def _portable(function: Callable[[Task], Result], task: Task) -> Result | tuple[str, str]:
    """The result, or the two sentences of a `UserError`, whose classes do not all survive the way back."""
    try:
        return function(task)
    except UserError as error:
        return error.what, error.way_out


def _unpack(result: Result | tuple[str, str]) -> Result:
    if isinstance(result, tuple):
        raise UserError(*result)
    return result


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next task for ever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
