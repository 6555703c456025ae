"""Context parallelism: each process has a part of every row, and sees the keys and values of the parts before it.

The way of Llama 3 (arXiv:2407.21783, section 3.3.2): keys and values are gathered, few where heads share them. To the
model it looks as if the parts before stood in a cache.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from malmoi.core.errors import UserError
from malmoi.data.batch import Batch, TextBatch
from malmoi.layers.cache import LayerCache
from malmoi.layers.stores import Kept, Store
from malmoi.models.gpt import GPT
from malmoi.objectives.causal import Causal
from malmoi.objectives.objective import Objective
from malmoi.parallel.collectives import gather, gathered


class ContextPart:
    """Hands a model the part of each row that belongs to this process.

    Raises:
        UserError: the model cannot go on from what another process has seen, or the objective asks another one too.
    """

    def __init__(self, model: nn.Module, objective: Objective, group: dist.ProcessGroup) -> None:
        self._group = group
        if not isinstance(objective, Causal):
            raise UserError("Only rows for next-token objectives can be divided.", "Leave context out of the layout.")
        models = [module for module in model.modules() if isinstance(module, GPT)]
        if len(models) != 1 or models[0].config.short_convolution or models[0].config.reversible:
            raise UserError("Only a GPT's rows can be divided among processes.", "Leave context out of the layout.")
        models[0].register_forward_pre_hook(self._with_cache, with_kwargs=True)

    def of(self, batch: Batch) -> Batch:
        """This process's part of a batch."""
        assert isinstance(batch, TextBatch)
        parts, own = dist.get_world_size(self._group), dist.get_rank(self._group)
        tokens, targets = (whole.chunk(parts, 1)[own] for whole in (batch.tokens, batch.targets))
        return dataclasses.replace(batch, tokens=tokens, targets=targets, counted=None)

    def _with_cache(self, _model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        tokens = inputs[0]
        return inputs, {**named, "cache": PartsBefore(gather(tokens, self._group, 1), tokens.shape[1], self._group)}


class PartsBefore:
    """What `GPT.forward` takes for a cache.

    Attributes:
        tokens: (rows, capacity) int64, of the whole rows.
        length: position of this process's first token.
        capacity: length of the whole rows.
    """

    def __init__(self, tokens: torch.Tensor, part: int, group: dist.ProcessGroup) -> None:
        self.tokens, self.capacity = tokens, tokens.shape[1]
        self.length = part * dist.get_rank(group)
        self._group = group

    def layer(self, index: int) -> LayerCache:
        """See `KeyValueCache.layer`."""
        return LayerCache(cast(Store, _Gathering(self._group)), None, self.length)

    def previous(self) -> torch.Tensor | None:
        """See `KeyValueCache.previous`."""
        return self.tokens[:, self.length - 1 : self.length] if self.length else None

    def advance(self, tokens: torch.Tensor) -> None:
        """See `KeyValueCache.advance`; nothing is kept."""


@dataclass(frozen=True)
class _Gathering:
    """A store that holds what the processes before have; gradients go back to them."""

    group: dist.ProcessGroup

    def extend(self, start: int, key: torch.Tensor, value: torch.Tensor) -> Kept:
        seen = start + key.shape[2]
        both = gathered(torch.stack([key, value]), self.group, 3)
        return Kept(both[0, :, :, :seen], both[1, :, :, :seen])
