"""In which order the micro-batches of a pipeline go forward and back, and how long its processes wait.

GPipe: Huang and others 2019, arXiv:1811.06965. One forward, one backward (1F1B), plain and interleaved: Narayanan and
others 2021, arXiv:2104.04473. Zero bubble: Qi and others 2024, arXiv:2401.10241, schedule H1. The orders are those that
PyTorch's engine executes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest
from typing import Literal

from malmoi.core.errors import UserError
from malmoi.parallel.layout import PipelineSchedule

ActionKind = Literal["forward", "backward", "backward-input", "backward-weight"]


@dataclass(frozen=True)
class Action:
    """What a process does at once.

    Attributes:
        kind: "backward" gives the gradients of input and weights; the two others give one of them.
        stage: index of the chunk of layers, from the bottom of the model, over all processes.
        micro_batch: from 0.
    """

    kind: ActionKind
    stage: int
    micro_batch: int


@dataclass(frozen=True)
class Timed:
    """An action, who does it and when; the unit is one micro-batch's forward through all layers of a process."""

    action: Action
    process: int
    start: float
    end: float


@dataclass(frozen=True)
class Order:
    """What each process of a pipeline does in one step, in order.

    Attributes:
        chunks: how many chunks of layers each process has; stage s is with process s % processes.
        actions: for each process.
    """

    processes: int
    micro_batches: int
    chunks: int
    actions: tuple[tuple[Action, ...], ...]

    def most_held(self, process: int) -> float:
        """How many micro-batches' activations `process` keeps at most, each of all its layers."""
        held = most = 0
        for action in self.actions[process]:
            held += {"forward": 1, "backward": -1, "backward-input": 0, "backward-weight": -1}[action.kind]
            most = max(most, held)
        return most / self.chunks


def chunks_of(schedule: PipelineSchedule) -> int:
    """How many chunks of layers each process has."""
    return 2 if schedule in ("interleaved", "zero-bubble") else 1


def layer_ranges(layers: int, schedule: PipelineSchedule, processes: int) -> list[range]:
    """Which layers each stage has; those with the embedding and with the head have no more than others.

    Raises:
        UserError: there are fewer layers than stages.
    """
    stages = processes * chunks_of(schedule)
    if layers < stages:
        raise UserError(
            f"A {schedule} pipeline of {processes} processes divides a model into {stages} chunks of layers, and this "
            f"one has {layers}.",
            f"Set pipeline to {max(1, layers // chunks_of(schedule))} at most, or add layers.",
        )
    sizes = [layers // stages] * stages
    inner_first = sorted(range(stages), key=lambda stage: (stage == stages - 1, stage == 0))
    for stage in inner_first[: layers % stages]:
        sizes[stage] += 1
    ends = list(accumulate(sizes))
    return [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def order_of(schedule: PipelineSchedule, processes: int, micro_batches: int) -> Order:
    """What each process does in one step.

    Raises:
        UserError: the schedule does not take so many micro-batches.
    """
    check_micro_batches(schedule, processes, micro_batches)
    chunks = chunks_of(schedule)
    actions = tuple(
        tuple(_actions(schedule, process, processes, micro_batches, chunks)) for process in range(processes)
    )
    return Order(processes, micro_batches, chunks, actions)


def check_micro_batches(schedule: PipelineSchedule, processes: int, micro_batches: int) -> None:
    """Refuse a number of micro-batches that the schedule does not take.

    Raises:
        UserError: names the nearest number that it takes.
    """
    if _takes(schedule, processes, micro_batches):
        return
    near = sorted(range(1, micro_batches + processes), key=lambda number: (abs(number - micro_batches), -number))
    best = next(number for number in near if _takes(schedule, processes, number))
    raise UserError(
        f"A {schedule} pipeline of {processes} processes does not take {micro_batches} micro-batches a step.",
        f"Take {best}, or the schedule gpipe, which takes any number.",
    )


def simulate(order: Order, forward: float = 1.0, backward: float = 2.0) -> list[Timed]:
    """When each action starts and ends if each starts as soon as it can and sending takes no time.

    Args:
        forward: time of one micro-batch's forward through all layers of a process.
        backward: the same of its backward; half of it is for the input, half for the weights.
    """
    costs = {"forward": forward, "backward": backward, "backward-input": backward / 2, "backward-weight": backward / 2}
    last = order.processes * order.chunks - 1
    ends: dict[tuple[str, int, int], float] = {}
    timed: list[Timed] = []
    rest = [deque(actions) for actions in order.actions]
    free = [0.0] * order.processes
    while any(rest):
        before = len(timed)
        for process, actions in enumerate(rest):
            while actions and all(needed in ends for needed in _needs(actions[0], last)):
                action = actions.popleft()
                start = max([free[process], *(ends[needed] for needed in _needs(action, last))])
                free[process] = start + costs[action.kind] / order.chunks
                ends[_gives(action)] = free[process]
                timed.append(Timed(action, process, start, free[process]))
        assert len(timed) > before, "every order can be carried out"
    return sorted(timed, key=lambda one: (one.start, one.process))


def idle_share(timed: Sequence[Timed]) -> float:
    """The share of the processes' time that they wait, until the last of them is done."""
    processes = {one.process for one in timed}
    busy = sum(one.end - one.start for one in timed)
    return 1 - busy / (len(processes) * max(one.end for one in timed))


def _takes(schedule: PipelineSchedule, processes: int, micro_batches: int) -> bool:
    if schedule == "1f1b":
        return micro_batches >= processes
    return schedule == "gpipe" or micro_batches % _rounds(processes, micro_batches) == 0


def _rounds(processes: int, micro_batches: int) -> int:
    """In how many groups the micro-batches pass the chunks of a process in turn."""
    return max(1, micro_batches // processes)


def _actions(
    schedule: PipelineSchedule, process: int, processes: int, micro_batches: int, chunks: int
) -> Iterator[Action]:
    """First some forwards, then a forward and a backward in turn, then the other backwards."""
    together = micro_batches // _rounds(processes, micro_batches) if chunks > 1 else micro_batches
    below = processes - 1 - process
    first = (chunks - 1) * together + {"gpipe": micro_batches, "interleaved": 2 * below}.get(schedule, below)
    forwards = list(_passes("forward", process, processes, micro_batches, chunks, together))
    backward: ActionKind = "backward-input" if schedule == "zero-bubble" else "backward"
    backwards = list(_passes(backward, process, processes, micro_batches, chunks, together))
    yield from forwards[:first]
    for index, (ahead, back) in enumerate(zip_longest(forwards[first:], backwards)):
        if ahead:
            yield ahead
        yield back
        if schedule == "zero-bubble" and index >= process:
            yield replace(backwards[index - process], kind="backward-weight")
    if schedule == "zero-bubble":
        yield from (replace(back, kind="backward-weight") for back in backwards[len(backwards) - process :])


def _passes(
    kind: ActionKind, process: int, processes: int, micro_batches: int, chunks: int, together: int
) -> Iterator[Action]:
    """Each micro-batch through each chunk, `together` of them through one before they go to the next."""
    for group in range(0, micro_batches, together):
        for chunk in range(chunks) if kind == "forward" else reversed(range(chunks)):
            for micro_batch in range(group, group + together):
                yield Action(kind, chunk * processes + process, micro_batch)


def _needs(action: Action, last: int) -> list[tuple[str, int, int]]:
    """What other processes give that an action needs."""
    if action.kind == "forward" and action.stage:
        return [("hidden", action.stage - 1, action.micro_batch)]
    if action.kind in ("backward", "backward-input") and action.stage < last:
        return [("gradient", action.stage + 1, action.micro_batch)]
    return []


def _gives(action: Action) -> tuple[str, int, int]:
    kinds = {"forward": "hidden", "backward": "gradient", "backward-input": "gradient", "backward-weight": "weights"}
    return kinds[action.kind], action.stage, action.micro_batch
