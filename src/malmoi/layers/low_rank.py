"""Low-rank adaptation: train a small difference to frozen weights (Hu and others 2021, arXiv:2106.09685)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.core.errors import UserError, nearest
from malmoi.layers.compressed import CompressedLinear
from malmoi.layers.seeded import fill_normal
from malmoi.layers.sparse import sparse_layers

ALL_TARGETS = ("query", "key", "value", "output", "gate", "up", "down")
"""Every linear layer of a block; one whose activation is not gated has no `gate`."""


class LowRankLinear(nn.Module):
    """A frozen linear layer plus scale * widen @ narrow.

    Attributes:
        base: the layer adapted; it may be one of fewer bits (Dettmers and others 2023, arXiv:2305.14314).
        narrow: (rank, inputs), normal at first.
        widen: (outputs, rank), zero at first, so that the adapted layer starts as the base.
        scale: alpha / rank.
    """

    def __init__(self, base: nn.Linear | CompressedLinear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base
        weight = base.weight
        self.narrow = nn.Parameter(weight.new_zeros(rank, base.in_features))
        self.widen = nn.Parameter(weight.new_zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs)."""
        result: torch.Tensor = self.base(hidden)
        return result + F.linear(F.linear(hidden, self.narrow) * self.scale, self.widen)

    def merged_weight(self) -> torch.Tensor:
        """(outputs, inputs), the weight of the plain layer that computes the same."""
        return torch.addmm(self.base.weight.detach(), self.widen.detach(), self.narrow.detach(), alpha=self.scale)

    def merged(self) -> nn.Linear:
        """The plain layer that computes the same, frozen."""
        plain = nn.Linear(self.base.in_features, self.base.out_features, bias=False, device="meta")
        plain.weight = nn.Parameter(self.merged_weight(), requires_grad=False)
        plain.register_parameter("bias", self.base.bias)
        return plain


def apply_low_rank(
    model: nn.Module, rank: int = 8, alpha: float = 16.0, targets: Sequence[str] | None = None, seed: int = 0
) -> None:
    """Freeze `model` and put a trainable low-rank difference beside each target layer, in place.

    Args:
        alpha: the difference is scaled by alpha / rank.
        targets: last part of the names of the linear layers, such as "query"; by default those of `ALL_TARGETS` that
            the model has.
        seed: the first values are a pure function of it and each layer's name.

    Raises:
        UserError: a target is in no layer of this model, it has none of `ALL_TARGETS`, or a layer is pruned.
    """
    kinds = (nn.Linear, CompressedLinear)
    linear = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    known = {name.rsplit(".", 1)[-1] for name in linear}
    if targets is None:
        targets = [target for target in ALL_TARGETS if target in known]
    if not targets:
        raise UserError("The model has no linear layer for a low-rank difference.", "Train all of it: train=all.")
    for target in targets:
        if target not in known:
            way_out = nearest(target, known) or f"Known: {', '.join(sorted(known))}."
            raise UserError(f"The model has no linear layer {target!r} to adapt.", way_out)
    for name in sparse_layers(model):
        if name.rsplit(".", 1)[-1] in targets:
            raise UserError(
                f"{name} is pruned, and a low-rank difference would fill its zeros.", "Train all of it: train=all."
            )
    model.requires_grad_(False)
    for name, base in linear.items():
        if name.rsplit(".", 1)[-1] in targets:
            adapted = LowRankLinear(base, rank, alpha)
            fill_normal(adapted.narrow, base.in_features**-0.5, seed, f"{name}.narrow")
            model.set_submodule(name, adapted)


def merge_low_rank(model: nn.Module) -> None:
    """Add every difference to its base and put the plain layers back, in place. The weights stay frozen."""
    for name, module in adapted_layers(model).items():
        model.set_submodule(name, module.merged())


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict that `model` would have after `merge_low_rank`; the model itself is left as it is."""
    state: dict[str, torch.Tensor] = model.state_dict()
    for name, module in adapted_layers(model).items():
        for inner in module.state_dict():
            del state[f"{name}.{inner}"]
        state |= {f"{name}.{inner}": value for inner, value in module.merged().state_dict().items()}
    return state


def adapted_layers(model: nn.Module) -> dict[str, LowRankLinear]:
    """Name to layer, of those with a difference beside them."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LowRankLinear)}
