"""Fill a model from tensors that somebody else named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from malmoi.core.errors import UserError
from malmoi.formats.family import Line
from malmoi.models.model import ModelConfig
from malmoi.models.registry import meta_model

_SHOWN = 8
"""Lines of each kind of mismatch in a message."""


def check_shapes(
    plan: Sequence[Line], ours: Mapping[str, torch.Size], theirs: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Compare what a model needs with what a file has, before any memory is taken.

    Raises:
        UserError: a table of the tensors that are missing, unexpected or of another shape.
    """
    expected = {line.theirs: _shape(line, ours) for line in plan}
    wrong = {
        "missing": [f"{name} {shape}" for name, shape in expected.items() if name not in theirs],
        "unexpected": [f"{name} {shape}" for name, shape in theirs.items() if name not in expected],
        "of another shape": [
            f"{name}: {theirs[name]} in the file, {shape} in the model"
            for name, shape in expected.items()
            if name in theirs and tuple(theirs[name]) != shape
        ],
    }
    if any(wrong.values()):
        table = "\n".join(_section(kind, found) for kind, found in wrong.items() if found)
        raise UserError(
            f"The tensors in {where} are not those of its configuration.\n{table}\n",
            "Either file is from another model, or not whole: get the checkpoint again.",
        )


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
                if not piece.isfinite().all():
                    raise UserError(f"{where}: the tensor {line.theirs} holds numbers that are not finite.")


def joined(line: Line, state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Their tensor, made from ours."""
    tensor = torch.cat([state[name] for name in line.ours]) if len(line.ours) > 1 else state[line.ours[0]]
    return (tensor.t() if line.transposed else tensor).contiguous()


def _shape(line: Line, ours: Mapping[str, torch.Size]) -> tuple[int, ...]:
    shapes = [ours[name] for name in line.ours]
    whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return whole[::-1] if line.transposed else whole


def _section(kind: str, found: list[str]) -> str:
    more = [f"    and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join([f"  {kind}:", *(f"    {line}" for line in found[:_SHOWN]), *more])


def shapes_of(config: ModelConfig, tensors: int, where: str) -> dict[str, torch.Size]:
    """The parameters that a model of this configuration has, without taking memory.

    Args:
        tensors: how many tensors the file has; a configuration with more layers cannot be its own.

    Raises:
        UserError: the configuration states sizes that no model has.
    """
    if config.depth > tensors:
        raise UserError(f"{where} states {config.depth:,} layers but has only {tensors:,} tensors.", "Get it again.")
    try:
        return {name: parameter.shape for name, parameter in meta_model(config).named_parameters()}
    except RuntimeError:
        raise UserError(f"{where} states sizes that no model has.", "Get it again.") from None
