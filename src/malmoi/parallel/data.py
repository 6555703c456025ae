"""Data parallelism: every process has all weights; gradients are added up while the backward pass still runs.

The way of Li and others 2020, "PyTorch Distributed", arXiv:2006.15704, for sums in place of means.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

BUCKET = 25 << 20
"""Bytes of gradients that are sent together."""


class GradientSum:
    """Adds the gradients of some parameters up over the processes of a group, in buckets, in the order of their use.

    Args:
        parameters: in the order of the forward pass; gradients are ready in the opposite one.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], group: dist.ProcessGroup, bucket: int = BUCKET) -> None:
        self._group = group
        self._buckets = _buckets(list(parameters)[::-1], bucket)
        self._bucket = {parameter: number for number, members in enumerate(self._buckets) for parameter in members}
        self._missing = [0] * len(self._buckets)
        self._sent: list[tuple[torch.Tensor, dist.Work]] = []
        self._armed = False
        for parameter in self._bucket:
            parameter.register_post_accumulate_grad_hook(self._ready)  # type: ignore[no-untyped-call]

    def last_backward(self) -> None:
        """Say that the next backward pass is the last one of this step, so that sending can begin within it."""
        self._missing = [len(members) for members in self._buckets]
        self._armed = True

    def finish(self) -> None:
        """Wait until every gradient is the sum; one that a process has not is zero there."""
        self._armed = False
        while len(self._sent) < len(self._buckets):
            self._send()
        for members, (flat, work) in zip(self._buckets, self._sent, strict=True):
            work.wait()
            sizes = [local(parameter).numel() for parameter in members]
            for parameter, summed in zip(members, torch.split(flat, sizes), strict=True):
                local_gradient(parameter).view(-1).copy_(summed)
        self._sent = []

    def _ready(self, parameter: torch.Tensor) -> None:
        if not self._armed:
            return
        self._missing[self._bucket[parameter]] -= 1
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] <= 0:
            self._send()

    def _send(self) -> None:
        """Send the next bucket; every process sends them in the same order."""
        flat = torch.cat([local_gradient(parameter).reshape(-1) for parameter in self._buckets[len(self._sent)]])
        work = dist.all_reduce(flat, group=self._group, async_op=True)
        assert work is not None
        self._sent.append((flat, work))


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def local_gradient(parameter: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter's gradient, which becomes zero where there is none."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return local(parameter.grad)


def _buckets(parameters: list[torch.Tensor], limit: int) -> list[list[torch.Tensor]]:
    buckets: list[list[torch.Tensor]] = []
    size = limit
    for parameter in parameters:
        size += local(parameter).nbytes
        if size > limit or buckets[-1][0].dtype != parameter.dtype:
            buckets.append([])
            size = local(parameter).nbytes
        buckets[-1].append(parameter)
    return buckets
