"""One step of a compression: a method and the layers it changes."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from malmoi.compress.calibration import Calibration
from malmoi.core.config import Settings
from malmoi.core.errors import UserError, nearest
from malmoi.layers.compressed import compressed_layers, compressible, is_part
from malmoi.layers.matrices.registry import matrix_name
from malmoi.layers.sparse import sparse_layers
from malmoi.models.model import Model


class Step(Settings):
    """What every method has."""

    def apply(self, model: Model, calibration: Calibration) -> None:
        """Change the model in place.

        Raises:
            UserError: no layer has such a name, one cannot be compressed so, or there is no text to calibrate with.
        """
        raise NotImplementedError


class LayerStep(Step):
    """What every method has that changes layers one by one.

    Attributes:
        layers: names of the layers, such as "blocks.0.attention.query", or patterns of names, such as
            "blocks.*.feed_forward.*"; empty for those that the method is made for.
    """

    layers: list[str] = []


def chosen(model: nn.Module, patterns: Iterable[str], default: Iterable[str], *, parts: bool = True) -> list[str]:
    """Names of the layers that a step changes, in the model's order.

    Args:
        default: the patterns where the step has none; what they find compressed already is left as it is.
        parts: the parts of which a compressed layer is made are layers too.

    Raises:
        UserError: a pattern finds no layer, or none but those that are compressed already.
    """
    compressed = compressed_layers(model)
    plain = [name for name in compressible(model) if parts or not is_part(name, compressed)]
    found: set[str] = set()
    for pattern in patterns:
        names = [name for name in plain if fnmatchcase(name, pattern)]
        if not names:
            _refuse(pattern, [name for name in compressed if fnmatchcase(name, pattern)], model, plain)
        found.update(names)
    if not patterns:
        found.update(name for pattern in default for name in plain if fnmatchcase(name, pattern))
        if not found:
            _refuse(" ".join(default), list(compressed), model, plain)
    return [name for name in plain if name in found]


def refuse_pruned(model: nn.Module, names: Iterable[str]) -> None:
    """For a step that would not keep the zeros of these layers.

    Raises:
        UserError: one of them has been pruned.
    """
    sparse = sparse_layers(model)
    for name in names:
        if name in sparse:
            raise UserError(
                f"{name} has been pruned already: this step would not keep its zeros.",
                "Start from the checkpoint before, take int8, which keeps them, or leave the layer out.",
            )


def _refuse(pattern: str, compressed: list[str], model: nn.Module, plain: list[str]) -> None:
    if compressed:
        kind = matrix_name(compressed_layers(model)[compressed[0]].matrix)
        raise UserError(
            f"{compressed[0]} is held as {kind} already.", "Start from the checkpoint before, or leave it out."
        )
    way_out = nearest(pattern, plain) or f"Layers are called so: {', '.join(plain[:3])}."
    raise UserError(f"The model has no layer {pattern!r} to compress.", way_out)
