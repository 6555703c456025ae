"""How the processes of a training find each other, and wait where the first one works alone."""

from __future__ import annotations

import contextlib
import datetime
import time
import uuid
from collections.abc import Iterator
from typing import Literal

import psutil
import torch.distributed as dist

from malmoi.core.accelerator import pick_device, process_group_backend, total_memory
from malmoi.core.errors import UserError
from malmoi.core.processes import is_first, process_count, process_index
from malmoi.parallel.layout import Layout
from malmoi.parallel.watchdog import ENDED

PATIENCE = datetime.timedelta(minutes=30)
"""For a collective operation; a process that died is noticed at once, one that hangs by the watchdog."""

PREPARING = datetime.timedelta(days=365)
"""For the stages that the first process does alone."""

WORD = "malmoi/word"
"""Key of the launcher's store: what the messages of the processes that run now begin with."""

TRAINED = 5
"""Times its weights that a training in float32 holds at least: they, gradients, two moments, activations."""

Begun = Literal["training", "done"]


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes that `torchrun` started know each other; nothing happens for a process that is alone."""
    if process_count() == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group(
        process_group_backend(pick_device()),
        store=_fresh_store(),
        rank=process_index(),
        world_size=process_count(),
        timeout=PATIENCE,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _fresh_store() -> dist.Store:  # type: ignore[name-defined]
    """Where the processes leave messages for each other, with none of those of processes that died before.

    When torchrun starts all again it keeps its store, and groups would wait for addresses of the dead. So the first
    process makes up a word that messages begin with, and hands it to those who answer with one of their own: whoever
    reads the word of a dead process is not answered, and reads again.
    """
    kept, index, count = next(dist.rendezvous("env://", process_index(), process_count(), timeout=PREPARING))  # type: ignore[attr-defined]
    word = _hand_out_word(kept, count) if index == 0 else _ask_for_word(kept, index)
    kept.set_timeout(PATIENCE)
    return dist.PrefixStore(f"malmoi/{word}", kept)  # type: ignore[attr-defined]


def _hand_out_word(kept: dist.Store, count: int) -> str:  # type: ignore[name-defined]
    word = uuid.uuid4().hex
    kept.set(WORD, word)
    for index in range(1, count):
        own = kept.get(f"malmoi/asks/{word}/{index}").decode()
        kept.set(f"malmoi/answered/{word}/{own}", "")
    return word


def _ask_for_word(kept: dist.Store, index: int) -> str:  # type: ignore[name-defined]
    own = uuid.uuid4().hex
    while True:
        word: str = kept.get(WORD).decode()
        kept.set(f"malmoi/asks/{word}/{index}", own)
        if kept.check([f"malmoi/answered/{word}/{own}"]):
            return word
        time.sleep(0.1)


def check_processes(layout: Layout) -> None:
    """Refuse a layout that wants another number of processes than there are.

    Raises:
        UserError: tells how to start the right number.
    """
    count = dist.get_world_size() if dist.is_initialized() else 1
    if layout.processes != count:
        raise UserError(
            f"The layout {layout} takes {layout.processes} processes, and there are {count}.",
            f"Start it with: malmoi launch RECIPE --on local, or torchrun --nproc-per-node {layout.processes}.",
        )


def automatic_layout(weights: int) -> Layout:
    """The layout of all processes that were started for a model of so many bytes: copies if they fit, else shards."""
    count = dist.get_world_size() if dist.is_initialized() else 1
    memory = total_memory(pick_device()) or psutil.virtual_memory().total // count
    return Layout(data=count) if TRAINED * weights < memory else Layout(shard=count)


class StageDone(Exception):
    """The first process has ended a stage; the others leave it where their last training ended."""


class Meeting:
    """Lets the other processes wait until the first one begins a training of a stage, or ends the stage.

    What comes before, between and after the trainings (tokens, a plan that follows from measurements, figures, the
    model's files) is done by the first process; the others follow it from one training to the next, find what came
    before done, and never reach what comes after the last. Every process makes one for every stage.
    """

    def __init__(self) -> None:
        global _numbered, _open
        _numbered += 1
        self._stage, self._told = _numbered, 0
        _open = self

    def wait(self) -> Begun:
        """What the first process came to next; for the others."""
        key, store = self._next_key(), dist.distributed_c10d._get_default_store()
        try:
            store.wait([key], PREPARING)
        except dist.DistNetworkError:  # without torchrun the first process keeps the store; it has ended, and said why
            raise SystemExit(ENDED) from None
        return self._close_if_done("training" if store.get(key) == b"training" else "done")

    def tell(self, begun: Begun) -> None:
        """Let the others go on; for the first process."""
        dist.distributed_c10d._get_default_store().set(self._next_key(), begun)
        self._close_if_done(begun)

    def _next_key(self) -> str:
        self._told += 1
        return f"malmoi/stage/{self._stage}/{self._told}"

    def _close_if_done(self, begun: Begun) -> Begun:
        global _open
        if begun == "done":
            _open = None
        return begun


def training_begins() -> None:
    """Say that the first process has prepared everything, and the others may come to train with it."""
    if _open is not None and is_first():
        _open.tell("training")


def training_ends() -> None:
    """Let the first process go on alone; the others wait until it trains again.

    Raises:
        StageDone: on the others, when there is no further training in this stage.
    """
    if _open is not None and not is_first() and _open.wait() == "done":
        raise StageDone


_numbered = 0
_open: Meeting | None = None
