"""Linear layers and embeddings whose matrix is held in fewer numbers, in the places of plain ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.matrices.matrix import CompressedMatrix
from malmoi.layers.tied_head import TiedHead


class CompressedLinear(nn.Module):
    """A linear layer. `weight` is made when it is asked for."""

    def __init__(self, matrix: CompressedMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.matrix = matrix
        self.bias = bias
        self.in_features, self.out_features = matrix.inputs, matrix.outputs

    @property
    def weight(self) -> torch.Tensor:
        """(outputs, inputs) floating, that of the plain layer."""
        return self.matrix.dense()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs)."""
        product = self.matrix.multiply(hidden)
        return product if self.bias is None else product + self.bias


class CompressedEmbedding(nn.Module):
    """An embedding, whose head may share its matrix. `weight` is made when it is asked for.

    Attributes:
        like: holds nothing, and changes type with the model, unlike the matrix.
    """

    like: torch.Tensor

    def __init__(self, matrix: CompressedMatrix, dtype: torch.dtype) -> None:
        super().__init__()
        self.matrix = matrix
        self.num_embeddings, self.embedding_dim = matrix.outputs, matrix.inputs
        self.register_buffer("like", torch.empty(0, dtype=dtype), persistent=False)

    @property
    def weight(self) -> torch.Tensor:
        """(vocabulary, width) floating, that of the plain layer."""
        return self.matrix.dense()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(...) int64 to (..., width) in the model's dtype."""
        return self.matrix.rows(tokens).to(self.like.dtype)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., width) to (..., vocabulary), what a head that shares the matrix computes."""
        return self.matrix.multiply(hidden)


Compressed = CompressedLinear | CompressedEmbedding
ModelType = TypeVar("ModelType", bound=nn.Module)


def compressible(model: nn.Module) -> dict[str, nn.Linear | nn.Embedding]:
    """Name to layer, of those whose weight is a matrix still held number by number."""
    kinds = (nn.Linear, nn.Embedding)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def compressed_layers(model: nn.Module) -> dict[str, Compressed]:
    """Name to layer, of those whose matrix is held in fewer numbers."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Compressed)}


def is_part(name: str, compressed: Iterable[str]) -> bool:
    """Whether a layer is a part of the matrix of one of these."""
    return any(name.startswith(f"{outer}.matrix.") for outer in compressed)


def replace_weight(model: nn.Module, name: str, matrix: CompressedMatrix) -> None:
    """Let layer `name` compute with `matrix` from now on, in place; a head that shares it does too.

    Raises:
        UserError: there is no such layer, or the matrix is of another shape.
    """
    layer = compressible(model).get(name) or compressed_layers(model).get(name)
    if layer is None:
        raise UserError(
            f"The model has no layer {name!r} whose weight is a matrix.", "Take a checkpoint that is whole."
        )
    _put(model, name, layer, compressed(layer, matrix))


def compressed(layer: nn.Linear | nn.Embedding | Compressed, matrix: CompressedMatrix) -> Compressed:
    """A layer that computes what `layer` does, with another matrix."""
    if isinstance(layer, nn.Linear | CompressedLinear):
        return CompressedLinear(matrix, layer.bias)
    dtype = layer.weight.dtype if isinstance(layer, nn.Embedding) else layer.like.dtype
    return CompressedEmbedding(matrix, dtype)


def decompress(model: nn.Module) -> None:
    """Put plain layers in the places of compressed ones, in place; they compute the same."""
    layers = compressed_layers(model)
    for name, layer in layers.items():
        if is_part(name, layers):
            continue
        weight = nn.Parameter(layer.weight)
        plain: nn.Module
        if isinstance(layer, CompressedLinear):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
            plain.register_parameter("bias", layer.bias)
        else:
            plain = nn.Embedding(layer.num_embeddings, layer.embedding_dim, device="meta")
        plain.weight = weight
        _put(model, name, layer, plain)


def plain(model: ModelType) -> ModelType:
    """A model that computes the same with plain layers; the model itself where it has no others."""
    if not compressed_layers(model):
        return model
    copied = copy.deepcopy(model)
    decompress(copied)
    return copied


def _put(model: nn.Module, name: str, old: nn.Module, new: nn.Module) -> None:
    model.set_submodule(name, new)
    for head in model.modules():
        if isinstance(head, TiedHead) and head.embedding is old:
            head.tie(new)
