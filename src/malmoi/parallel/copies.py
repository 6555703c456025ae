"""Parameters that several processes of a pipeline have, such as the embedding of a tied head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist

from malmoi.parallel.data import local_gradient


class Copies:
    """Keeps the copies of a parameter alike: each gets the sum of all gradients, added up in the same order.

    Args:
        holders: the ranks in `group` that have each parameter, for all that more than one has.
        parameters: those that this process has, by name.
    """

    def __init__(
        self, holders: Mapping[str, Sequence[int]], parameters: Mapping[str, torch.Tensor], group: dist.ProcessGroup
    ) -> None:
        self._group, self._rank = group, dist.get_rank(group)
        self._copied = [
            (parameters[name], ranks)
            for name, ranks in sorted(holders.items())
            if name in parameters and parameters[name].requires_grad
        ]

    def sum_gradients(self) -> None:
        """Add the gradients of all copies up; one that a process has not is zero there."""
        gradients = [local_gradient(parameter).contiguous() for parameter, _ in self._copied]
        received: list[dict[int, torch.Tensor]] = []
        exchanges: list[dist.P2POp] = []
        for gradient, (_, ranks) in zip(gradients, self._copied, strict=True):
            received.append({rank: torch.empty_like(gradient) for rank in ranks if rank != self._rank})
            for rank, buffer in received[-1].items():
                exchanges.append(dist.P2POp(dist.isend, gradient, group=self._group, group_peer=rank))
                exchanges.append(dist.P2POp(dist.irecv, buffer, group=self._group, group_peer=rank))
        for work in dist.batch_isend_irecv(exchanges) if exchanges else ():
            work.wait()
        for gradient, others, (parameter, ranks) in zip(gradients, received, self._copied, strict=True):
            summed = torch.zeros_like(gradient)
            for rank in ranks:
                summed += others.get(rank, gradient)
            local_gradient(parameter).copy_(summed)


def holders_of(named: Mapping[str, torch.Tensor], held: Sequence[set[torch.Tensor]]) -> dict[str, list[int]]:
    """The ranks that have each parameter, for all that more than one has.

    Args:
        named: all parameters.
        held: those of each rank.
    """
    ranks = {name: [rank for rank, own in enumerate(held) if one in own] for name, one in named.items()}
    return {name: those for name, those in ranks.items() if len(those) > 1}
