"""Fill a model from tensors that somebody else named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.formats.family import Line
from malmoi.models.model import Model, ModelConfig
from malmoi.models.registry import meta_model


def fill(
    plan: Sequence[Line], parameters: Mapping[str, torch.Tensor], read: Callable[[str], torch.Tensor], where: str
) -> None:
    """Copy every tensor of the file into its parameters, one tensor at a time.

    Raises:
        UserError: a tensor holds numbers that are not finite.
    """
    with torch.no_grad():
        for line in plan:
            tensor = read(line.theirs)
            tensor = tensor.t() if line.transposed else tensor
            pieces = [parameters[name] for name in line.ours]
            for piece, part in zip(pieces, torch.split(tensor, [len(piece) for piece in pieces]), strict=True):
                piece.copy_(part)
                if not all(bound.isfinite() for bound in torch.aminmax(piece)):  # takes no memory, and passes NaN on
                    raise UserError(f"{where}: the tensor {line.theirs} holds numbers that are not finite.")


def joined(line: Line, state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Their tensor, made from ours."""
    tensor = torch.cat([state[name] for name in line.ours]) if len(line.ours) > 1 else state[line.ours[0]]
    return (tensor.t() if line.transposed else tensor).contiguous()


def their_shape(line: Line, ours: Mapping[str, torch.Size]) -> tuple[int, ...]:
    """The shape that their tensor must have for a model whose parameters have these."""
    shapes = [ours[name] for name in line.ours]
    whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return whole[::-1] if line.transposed else whole


def stated_model(config: ModelConfig, tensors: int, where: str) -> Model:
    """A model of this configuration that takes no memory.

    Args:
        tensors: how many tensors the file has; a configuration with more layers cannot be its own.

    Raises:
        UserError: the configuration states sizes that no model has.
    """
    if config.depth > tensors:
        raise UserError(f"{where} states {config.depth:,} layers but has only {tensors:,} tensors.", "Get it again.")
    try:
        return meta_model(config)
    except (RuntimeError, TypeError, OverflowError):  # torch takes numbers beyond 64 bits for a wrong type
        raise UserError(f"{where} states sizes that no model has.", "Get it again.") from None


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    """Name to shape of a model's parameters."""
    return {name: parameter.shape for name, parameter in model.named_parameters()}
