"""The methods of compression, one line each, and the recipes that have a name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.methods.lowrank import LowRank
from malmoi.compress.methods.prune import Prune
from malmoi.compress.methods.structure import Structure
from malmoi.core.config import Settings

AnyStep = Annotated[
    Int8 | Int4 | LowRank | Prune | Structure,
    Field(discriminator="method"),
]
"""A step of any method."""

RECIPES: dict[str, list[dict[str, Any]]] = {
    "int8": [{"method": "int8"}],
    "int4": [{"method": "int4"}],
    "lowrank": [{"method": "lowrank"}],
    "prune": [{"method": "prune"}],
    "structure": [{"method": "structure", "feed_forward": 0.25, "heads": 0.25}],
}
"""Name to steps."""


class CompressionRecipe(Settings):
    """Steps of a compression, one after the other.

    Attributes:
        steps: each with its `method` and the settings of that.
    """

    steps: list[AnyStep]
