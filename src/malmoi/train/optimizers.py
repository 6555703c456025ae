"""Which parameter is updated by which rule, at which learning rate."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import nn

from malmoi.core.config import Settings
from malmoi.train.muon import Muon


class OptimizerSettings(Settings):
    """How parameters are updated.

    Attributes:
        optimizer: "muon" for the matrices inside blocks and AdamW for the rest, or "adamw" for all.
        learning_rate: of AdamW, for everything that has no rate of its own.
        matrix_learning_rate: of Muon.
        embedding_learning_rate: of embedding tables; None means `learning_rate`.
        head_learning_rate: of an untied head; None means `learning_rate`.
        betas: of AdamW.
        weight_decay: decoupled, of matrices and embeddings; vectors (norms, biases) have none.
        matrix_weight_decay: of the matrices that Muon updates.
    """

    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: PositiveFloat = 3e-3
    matrix_learning_rate: PositiveFloat = 0.02
    embedding_learning_rate: PositiveFloat | None = None
    head_learning_rate: PositiveFloat | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: NonNegativeFloat = 0.0
    matrix_weight_decay: NonNegativeFloat = 0.0


def build_optimizers(model: nn.Module, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """The optimizers over the trainable parameters, each in the order of names; every group knows its `peak` rate."""
    groups: dict[str, list[nn.Parameter]] = {"matrix": [], "embedding": [], "head": [], "other": [], "vector": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[_group(name, parameter, settings)].append(parameter)
    rate = settings.learning_rate
    rates = {
        "embedding": settings.embedding_learning_rate or rate,
        "head": settings.head_learning_rate or rate,
        "other": rate,
        "vector": rate,
    }
    adamw = [
        {"params": groups[name], "lr": rates[name], "weight_decay": 0.0 if name == "vector" else settings.weight_decay}
        for name in rates
        if groups[name]
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if adamw:
        optimizers.append(torch.optim.AdamW(adamw, betas=settings.betas, eps=1e-8, fused=True))
    if groups["matrix"]:
        optimizers.append(
            Muon(groups["matrix"], settings.matrix_learning_rate, weight_decay=settings.matrix_weight_decay)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _group(name: str, parameter: nn.Parameter, settings: OptimizerSettings) -> str:
    if parameter.ndim < 2 or "convolution" in name:
        return "vector"
    if "embedding" in name or "bigram" in name or "positions" in name:
        return "embedding"
    if name.startswith("head.") or ".head." in name:
        return "head"
    return "matrix" if settings.optimizer == "muon" and parameter.ndim == 2 and "blocks." in name else "other"
