"""The methods of compression, one line each, and the recipes that have a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.methods.lowrank import LowRank
from malmoi.compress.methods.prune import Prune
from malmoi.compress.methods.structure import Structure
from malmoi.compress.methods.tensor import Tensor
from malmoi.core.config import Settings, parse_settings, read_yaml
from malmoi.core.errors import UserError, nearest

AnyStep = Annotated[
    Int8 | Int4 | LowRank | Prune | Structure | Tensor,
    Field(discriminator="method"),
]
"""A step of any method."""

RECIPES: dict[str, list[dict[str, Any]]] = {
    "int8": [{"method": "int8"}],
    "int8-dynamic": [{"method": "int8", "activations": True}],
    "int4": [{"method": "int4"}],
    "lowrank": [{"method": "lowrank"}],
    "prune": [{"method": "prune"}],
    "structure": [{"method": "structure", "feed_forward": 0.25, "heads": 0.25}],
    "tensor": [{"method": "tensor"}],
}
"""Name to steps."""


class CompressionRecipe(Settings):
    """Steps of a compression, one after the other.

    Attributes:
        steps: each with its `method` and the settings of that.
    """

    steps: Annotated[list[AnyStep], Field(min_length=1)]


def find_steps(name: str) -> list[AnyStep]:
    """The steps of a recipe.

    Args:
        name: one of `RECIPES`, or a YAML file with `steps`.

    Raises:
        UserError: there is no such recipe, or its steps are wrong.
    """
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return parse_settings(CompressionRecipe, read_yaml(path), str(path)).steps
    if name not in RECIPES:
        way_out = nearest(name, RECIPES) or f"Known: {', '.join(RECIPES)}; or name a YAML file."
        raise UserError(f"There is no recipe {name!r} to compress by.", way_out)
    return parse_settings(CompressionRecipe, {"steps": RECIPES[name]}, f"the recipe {name}").steps
