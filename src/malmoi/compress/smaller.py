"""A model without some of its heads, inner places or layers: a plain one of the same family, in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from malmoi.compress.calibration import Statistic
from malmoi.compress.gptq import DAMPING
from malmoi.core.errors import UserError
from malmoi.layers.attention import Attention
from malmoi.layers.compressed import compressed_layers
from malmoi.layers.feed_forward import FeedForward
from malmoi.models.encoder import Encoder
from malmoi.models.gpt import GPT
from malmoi.models.model import Backbone


def check_whole(model: nn.Module) -> None:
    """Refuse what cannot be cut.

    Raises:
        UserError: the model is no transformer of one stack, or its layers are compressed.
    """
    if not isinstance(model, GPT | Encoder):
        raise UserError("Only GPT and encoder shapes can be cut smaller.", "Take int8, int4 or lowrank.")
    if compressed := compressed_layers(model):
        raise UserError(
            f"{next(iter(compressed))} is compressed, and what is compressed cannot be cut.",
            "Make the model smaller first, and compress then.",
        )


def keep_layers(model: Backbone, kept: Sequence[int]) -> None:
    """Leave only the blocks of these numbers."""
    config = model.config
    changes: dict[str, object] = {"layers": len(kept)}
    if len(getattr(config, "attention", ())) > 1:
        changes["attention"] = tuple(config.layer_attention(number) for number in kept)  # type: ignore[attr-defined]
    model.blocks = nn.ModuleList(model.blocks[number] for number in kept)
    model.config = config.model_copy(update=changes)


def spread(layers: int, kept: int) -> list[int]:
    """Numbers of `kept` of so many layers, the first and the last and those evenly between, as DistilBERT takes them.

    Raises:
        UserError: there are not so many.
    """
    if not 0 < kept <= layers:
        raise UserError(f"{kept} of {layers} layers cannot be kept.", f"Take a number from 1 to {layers}.")
    return [round(place * (layers - 1) / max(1, kept - 1)) for place in range(kept)]


def keep_groups(attention: Attention, kept: torch.Tensor, statistic: Statistic | None = None) -> None:
    """Leave only these key/value heads and the query heads that look at them.

    Args:
        kept: (groups,) int64, sorted.
        statistic: of the inputs of `output`; with it what is left makes up for what goes.
    """
    size = attention.head_width
    shared = attention.heads // attention.key_value_heads
    queries, keys = _places(kept, shared * size), _places(kept, size)
    _keep_outputs(attention.query, queries)
    for layer in (attention.key, attention.value):
        if layer is not None:
            _keep_outputs(layer, keys)
    _keep_inputs(attention.output, queries, statistic)
    attention.heads, attention.key_value_heads = shared * len(kept), len(kept)


def keep_inner(feed_forward: FeedForward, kept: torch.Tensor, statistic: Statistic | None = None) -> None:
    """Leave only these places between widening and narrowing.

    Args:
        kept: (places,) int64, sorted.
        statistic: of the inputs of `down`; with it what is left makes up for what goes.
    """
    for layer in (feed_forward.gate, feed_forward.up):
        if layer is not None:
            _keep_outputs(layer, kept)
    _keep_inputs(feed_forward.down, kept, statistic)


def _places(groups: torch.Tensor, size: int) -> torch.Tensor:
    """(groups x size,) the places of whole groups."""
    return (groups[:, None] * size + torch.arange(size)).flatten()


def _keep_outputs(layer: nn.Linear, kept: torch.Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight.detach()[kept])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[kept])
    layer.out_features = len(kept)


def _keep_inputs(layer: nn.Linear, kept: torch.Tensor, statistic: Statistic | None) -> None:
    """With a statistic the weights left are those whose outputs are nearest to what all of them gave."""
    weight = layer.weight.detach()
    left = weight[:, kept]
    if statistic is not None:
        products = statistic.products.double()
        gone = torch.ones(len(products), dtype=torch.bool).index_fill(0, kept, False)
        own = products[kept][:, kept]
        own.diagonal().add_(DAMPING * own.diagonal().mean().clamp_min(torch.finfo(torch.float32).tiny))
        shares = torch.linalg.solve(own, products[kept][:, gone])
        left = left + weight[:, gone] @ shares.t().to(weight.dtype)
    layer.weight = nn.Parameter(left.contiguous())
    layer.in_features = len(kept)
