"""Which layers of a checkpoint are held in fewer numbers, as config.json says it."""

from __future__ import annotations

from typing import Any

from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.compressed import compressed_layers, compressible, is_part, replace_weight
from malmoi.layers.matrices.matrix import CompressedMatrix
from malmoi.layers.matrices.registry import empty_matrix, matrix_name
from malmoi.layers.sparse import make_sparse, sparse_layers

FIELD = "compression"
"""In config.json: a list of mappings, each the name of a kind of matrix, its settings, and the layers held so."""
SPARSE = "sparse"
"""The name of what is no kind of its own: plain matrices whose zeros stay zero."""


def describe(model: nn.Module) -> dict[str, Any]:
    """Fields of config.json; none for a model that is not compressed. A classifier's body is described as a model.

    Layers come before the parts that they are made of.
    """
    groups: list[dict[str, Any]] = []
    layers = compressed_layers(model)
    outer = [name for name in layers if not is_part(name, layers)]
    for names in (outer, [name for name in layers if name not in outer]):
        groups += _grouped({name.removeprefix("body."): layers[name].matrix for name in names})
    if sparse := [name.removeprefix("body.") for name in sparse_layers(model)]:
        groups.append({"matrix": SPARSE, "layers": sparse})
    return {FIELD: groups} if groups else {}


def _grouped(matrices: dict[str, CompressedMatrix]) -> list[dict[str, Any]]:
    """Those that are held alike together."""
    groups: list[dict[str, Any]] = []
    for name, matrix in matrices.items():
        held = {"matrix": matrix_name(matrix), **matrix.settings.model_dump()}
        for group in groups:
            if {**group, "layers": ()} == {**held, "layers": ()}:
                group["layers"].append(name)
                break
        else:
            groups.append({**held, "layers": [name]})
    return groups


def expect_compressed(model: nn.Module, fields: dict[str, Any], where: str) -> None:
    """Give a model without numbers the matrices that config.json describes, in place.

    Args:
        where: the file, for messages.

    Raises:
        UserError: a field is missing, wrong or unknown, or there is no such layer.
    """
    for group in fields.get(FIELD) or []:
        settings = dict(group) if isinstance(group, dict) else {}
        name, layers = settings.pop("matrix", None), settings.pop("layers", None)
        if not isinstance(name, str) or not isinstance(layers, list):
            raise UserError(f"{where} does not say how its layers are compressed.", "Get the checkpoint again.")
        plain = compressible(model)
        for layer in layers:
            if not isinstance(layer, str) or layer not in plain:
                raise UserError(f"{where} compresses {layer!r}, which the model does not have.", "Get it again.")
            if name == SPARSE and isinstance(plain[layer], nn.Linear):
                make_sparse(model, layer)
                continue
            outputs, inputs = plain[layer].weight.shape
            replace_weight(model, layer, empty_matrix(name, outputs, inputs, settings, f"{where}, layer {layer}"))
