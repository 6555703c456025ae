"""The micro-batches of a training as one process computes them, prepared one step ahead."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

import torch

from malmoi.core.accelerator import copies_alongside
from malmoi.data.batch import Batch, BatchSource
from malmoi.data.prefetch import prefetched
from malmoi.parallel.execution import Share


class StepBatches:
    """Inside, a thread prepares the batches of the next step while one computes; afterwards nothing is left running.

    Args:
        shares: what this process computes of a step.
        steps: that are still to be done.
        seed: of dropout.
        device: that the batches go to.
    """

    def __init__(
        self, source: BatchSource, shares: Sequence[Share], steps: Iterable[int], seed: int, device: torch.device
    ) -> None:
        self._source, self._seed, self._pinned = source, seed, copies_alongside(device)
        places = ((step, share) for step in steps for share in shares)
        self._batches = prefetched(self._prepare, places, ahead=len(shares))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def take(self, step: int, share: Share) -> Batch:
        """The next batch, which is that of `share` in `step`; the seed of its dropout is set."""
        batch = next(self._batches)
        torch.manual_seed(_seed(self._seed, step, share))
        return batch

    def _prepare(self, place: tuple[int, Share]) -> Batch:
        step, share = place
        batch = self._source.batch(step, share.slot)
        batch = batch.part(share.part, share.parts) if share.parts > 1 else batch
        return batch.pinned() if self._pinned else batch


def _seed(seed: int, step: int, share: Share) -> int:
    """The seed of dropout in one micro-batch, or in a part of its rows, so that nothing about it is state."""
    place = f"{seed}/{step}/{share.slot}" + (f"/{share.part}" if share.part else "")
    digest = hashlib.sha256(place.encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
