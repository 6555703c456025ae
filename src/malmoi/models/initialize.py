"""First weights: every parameter a pure function of (seed, its name, block of rows)."""

from __future__ import annotations

import math

import torch
from torch import nn

from malmoi.layers.bigram import BigramTable
from malmoi.layers.norms import LayerNorm, RMSNorm
from malmoi.layers.relative_positions import RelativePositions
from malmoi.layers.seeded import KnowsFirstWeights, fill_normal
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.models.encoder import MaskedHead
from malmoi.models.seq2seq import TranslatorHead

EMBEDDING_DEVIATION = 0.02
"""Of the first embeddings of tokens."""


def initialize(model: nn.Module, seed: int, prefix: str = "", embedding_deviation: float = EMBEDDING_DEVIATION) -> None:
    """Fill every parameter of `model` in place, also after construction on the meta device and `with_memory`.

    Linear layers: normal, deviation 1 / sqrt(inputs); those that write to the residual stream (`output`, `down`):
    zero, so that every block starts as the identity. Heads and learned positions: normal, deviation 0.02. Norms: one.
    Short convolutions: the identity. Bigram tables, relative positions and biases: zero. Convolutions over images:
    normal, deviation sqrt(2 / inputs) (He and others 2015, arXiv:1502.01852); batch norms: as if nothing had been seen.
    A module with a method `first_weights` fills its own.

    Args:
        prefix: name of `model` in the whole it belongs to, with a dot at its end.
        embedding_deviation: of token embeddings, normal too.

    Raises:
        TypeError: a module has parameters and is of no kind known here.
    """
    with torch.no_grad():
        for name, module in model.named_modules():
            if next(module.parameters(recurse=False), None) is not None:
                _initialize_one(module, prefix + name, seed, embedding_deviation)


def _initialize_one(module: nn.Module, name: str, seed: int, embedding_deviation: float) -> None:
    last = name.rsplit(".", 1)[-1]
    if isinstance(module, KnowsFirstWeights):
        module.first_weights(seed, name)
    elif isinstance(module, nn.Linear):
        if last in ("output", "down"):
            module.weight.zero_()
        else:
            deviation = 0.02 if last in ("head", "score") else 1 / math.sqrt(module.in_features)
            fill_normal(module.weight, deviation, seed, f"{name}.weight")
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Embedding):
        deviation = 0.02 if last == "positions" else embedding_deviation
        fill_normal(module.weight, deviation, seed, f"{name}.weight")
    elif isinstance(module, (RMSNorm, LayerNorm)):
        module.weight.fill_(1)
        if isinstance(module, LayerNorm):
            module.bias.zero_()
    elif isinstance(module, ShortConvolution):
        module.reset_parameters()
    elif isinstance(module, nn.Conv2d):
        fill_normal(module.weight, math.sqrt(2 / module.weight[0].numel()), seed, f"{name}.weight")
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        module.reset_parameters()
    elif isinstance(module, (BigramTable, RelativePositions)):
        module.weight.zero_()
    elif isinstance(module, (MaskedHead, TranslatorHead)) and module.bias is not None:
        module.bias.zero_()
    else:
        raise TypeError(f"{name}: no rule for the first weights of {type(module).__name__}")
