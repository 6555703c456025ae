"""Outliers of what flows into layers move into their weights (Xiao and others 2022, SmoothQuant, arXiv:2211.10438)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import nn

from malmoi.compress.calibration import Calibration
from malmoi.models.gpt import Block
from malmoi.models.model import Model

_LEAST = 1e-4
"""Of a size, as a share of the largest: what hardly flows is not made as large as the rest."""


@torch.no_grad()
def smooth(model: Model, names: Collection[str], calibration: Calibration) -> None:
    """Divide what norms give to these layers by a factor for each input, and multiply the weights by it, in place.

    The model computes what it did. The factor is the root of a / w, where `a` is the root of the mean square of the
    input and `w` the largest of the weights that read it. Norms stay as they are that other layers read too, or the
    residual stream; so do layers that read no norm.

    Raises:
        UserError: there is no text to calibrate with.
    """
    passages = [(norm, readers) for norm, readers in _passages(model) if set(readers) <= set(names)]
    statistics = calibration.statistics(model, [readers[0] for _, readers in passages]) if passages else {}
    for norm, readers in passages:
        weights = [model.get_submodule(name).get_parameter("weight").detach() for name in readers]
        flows = _logarithm(statistics[readers[0]].norms)
        factor = ((flows - _logarithm(torch.cat(weights).abs().amax(0).float())) / 2).exp()
        for parameter in norm.parameters():
            parameter.div_(factor)
        for weight in weights:
            weight.mul_(factor)


def _logarithm(sizes: torch.Tensor) -> torch.Tensor:
    """Of sizes as shares of what they are on the whole, so that factors are about one."""
    logarithm = sizes.clamp_min(max(_LEAST * float(sizes.max()), torch.finfo(sizes.dtype).tiny)).log()
    return logarithm - logarithm.mean()


def _passages(model: Model) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """Norms, and the names of the linear layers that read each and beside which nothing does."""
    for name, block in model.named_modules():
        if not isinstance(block, Block):
            continue
        if block.attention_convolution is None:
            attending = ("query", "value") if block.attention.key is None else ("query", "key", "value")
            yield block.attention_norm, tuple(f"{name}.attention.{part}" for part in attending)
        if block.feed_forward_convolution is None:
            widening = ("up",) if block.feed_forward.gate is None else ("gate", "up")
            yield block.feed_forward_norm, tuple(f"{name}.feed_forward.{part}" for part in widening)
