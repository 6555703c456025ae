"""Which parameter is updated by which rule, at which learning rate."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from malmoi.core.accelerator import wants_static_shapes
from malmoi.core.config import Settings
from malmoi.layers.sparse import zeros
from malmoi.train.compact_states import CompactAdamW, StatePrecision
from malmoi.train.muon import Matrices, Muon

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_BELOW = ("embedding", "positions", "segments", "bigram")
"""What of a name tells that a parameter makes the states that the first block gets."""


class OptimizerSettings(Settings):
    """How parameters are updated.

    Attributes:
        optimizer: "muon" for the matrices inside blocks and AdamW for the rest, or "adamw" for all.
        learning_rate: of AdamW, for everything that has no rate of its own.
        matrix_learning_rate: of Muon.
        embedding_learning_rate: of embedding tables; None means `learning_rate`.
        head_learning_rate: of an untied head; None means `learning_rate`.
        betas: of AdamW.
        depth_decay: the rate of every block is that of the one above times this, and of the embeddings below all once
            more (Howard and Ruder 2018, arXiv:1801.06146, "discriminative fine-tuning"); 1 for the same everywhere.
        weight_decay: decoupled, of matrices and embeddings; vectors (norms, biases) have none.
        matrix_weight_decay: of the matrices that Muon updates.
        state_precision: in which the optimizers keep what they remember; bfloat16 takes half of float32's memory, 8-bit
            a quarter.
    """

    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: PositiveFloat = 3e-3
    matrix_learning_rate: PositiveFloat = 0.02
    embedding_learning_rate: PositiveFloat | None = None
    head_learning_rate: PositiveFloat | None = None
    depth_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: NonNegativeFloat = 0.0
    matrix_weight_decay: NonNegativeFloat = 0.0
    state_precision: StatePrecision = "float32"


def build_optimizers(
    model: nn.Module,
    settings: OptimizerSettings,
    parameters: Mapping[str, torch.Tensor] | None = None,
    matrices: Matrices | None = None,
) -> list[torch.optim.Optimizer]:
    """The optimizers over the trainable parameters, each in the order of names; every group knows its `peak` rate.

    Args:
        parameters: what this process updates, by name, where several share the parameters of `model`.
        matrices: how Muon then has whole matrices.
    """
    if parameters is None:
        parameters = {name: one for name, one in model.named_parameters() if one.requires_grad}
    rate, decay = settings.learning_rate, settings.weight_decay
    rules = {
        "embedding": (settings.embedding_learning_rate or rate, decay),
        "head": (settings.head_learning_rate or rate, decay),
        "other": (rate, decay),
        "vector": (rate, 0.0),
        "matrix": (settings.matrix_learning_rate, settings.matrix_weight_decay),
    }
    adamw: list[dict[str, Any]] = []
    muon: list[dict[str, Any]] = []
    for (kind, steps), members in _groups(model, parameters, settings, list(rules)).items():
        own, own_decay = rules[kind]
        group = {"params": members, "lr": own * settings.depth_decay**steps, "weight_decay": own_decay}
        (muon if kind == "matrix" else adamw).append(group)
    optimizers: list[torch.optim.Optimizer] = []
    precision = settings.state_precision
    if adamw and precision != "float32":
        optimizers.append(CompactAdamW(adamw, settings.betas, state_precision=precision))
    elif adamw:
        # what is compiled must not change from step to step: the number of the step is then a tensor, too
        static = any(wants_static_shapes(one.device) for one in parameters.values())
        form = {"capturable": True} if static else {"fused": True}
        optimizers.append(torch.optim.AdamW(adamw, betas=settings.betas, eps=1e-8, **form))
    if muon:
        optimizers.append(Muon(muon, settings.matrix_learning_rate, state_precision=precision, matrices=matrices))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    _keep_zeros(model, optimizers)
    return optimizers


def _keep_zeros(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    """Put back to zero after every step what is zero now in layers that are told to stay sparse.

    Gradients without those numbers would not do: Muon mixes the numbers of a matrix.
    """
    weights, masks = zeros(model)
    if weights:
        optimizers[-1].register_step_post_hook(lambda *_: torch._foreach_mul_(weights, masks))


def _groups(
    model: nn.Module, parameters: Mapping[str, torch.Tensor], settings: OptimizerSettings, kinds: list[str]
) -> dict[tuple[str, int], list[torch.Tensor]]:
    """The trainable parameters by kind and by steps from the top, 0 where the rate does not decay; sorted."""
    numbers = [int(found[1]) for name, _ in model.named_parameters() if (found := _BLOCK.search(name))]
    top = max(numbers, default=-1)
    groups: dict[tuple[str, int], list[torch.Tensor]] = defaultdict(list)
    for name, parameter in parameters.items():
        steps = 0 if settings.depth_decay == 1 else _steps_from_the_top(name, top)
        groups[_group(name, parameter, settings), steps].append(parameter)
    return dict(sorted(groups.items(), key=lambda group: (kinds.index(group[0][0]), group[0][1])))


def _steps_from_the_top(name: str, top: int) -> int:
    """How many blocks a parameter stands below what follows the last one; embeddings stand below all."""
    if found := _BLOCK.search(name):
        return 1 + top - int(found[1])
    return 2 + top if any(word in name for word in _BELOW) else 0


def _group(name: str, parameter: torch.Tensor, settings: OptimizerSettings) -> str:
    if parameter.ndim < 2 or "convolution" in name:
        return "vector"
    if "embedding" in name or "bigram" in name or "positions" in name:
        return "embedding"
    if name.startswith("head.") or ".head." in name:
        return "head"
    return "matrix" if settings.optimizer == "muon" and parameter.ndim == 2 and "blocks." in name else "other"
