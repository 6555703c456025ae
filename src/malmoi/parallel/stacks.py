"""The stacks of blocks of a model, of which a process may have some blocks only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from torch import nn

SEQUENCE = 1
"""The dimension of hidden states that the sequence runs along."""

BLOCKS = "blocks"
"""The name of every stack of blocks."""


class Run(NamedTuple):
    """Blocks that a process has one after the other.

    Attributes:
        stack: name of the list of blocks in its model.
        first, last: of the run.
        ends: behind the last one the stack has no other.
    """

    stack: str
    first: nn.Module
    last: nn.Module
    ends: bool


def runs(model: nn.Module) -> Iterator[Run]:
    """Those of every stack; a block of another process has no parameters here."""
    for name, blocks in model.named_modules():
        if isinstance(blocks, nn.ModuleList) and name.rsplit(".", 1)[-1] == BLOCKS:
            for present, run in groupby(blocks, key=lambda block: next(block.parameters(), None) is not None):
                own = list(run)
                if present:
                    yield Run(name, own[0], own[-1], own[-1] is blocks[-1])
