"""Fewer heads, narrower feed-forward layers, fewer layers: a plain and smaller model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.importance import Importance, of_inputs, strongest
from malmoi.compress.smaller import check_whole, keep_groups, keep_inner, keep_layers
from malmoi.compress.step import Step, refuse_pruned
from malmoi.core.errors import UserError
from malmoi.models.gpt import GPT
from malmoi.models.model import Backbone, Model

Share = Annotated[float, Field(ge=0, lt=1)]
_WHOLE = 32
"""Inner places are kept in runs of so many, where they are so now, so that groups of int4 and of GGUF still fit."""


class Structure(Step):
    """Take parts of the model away, the same number of every layer, so that the rest is a model of the same family.

    Attributes:
        feed_forward: share of the inner places of every feed-forward layer that goes.
        heads: share of the key/value heads of every layer that goes, each with the query heads that look at it.
        depth: share of the layers that goes.
        importance: "inputs" takes what adds least to the outputs, and lets what is left make up for it, and reads text
            for that; "magnitude" what has the smallest numbers.
    """

    method: Literal["structure"] = "structure"
    feed_forward: Share = 0.0
    heads: Share = 0.0
    depth: Share = 0.0
    importance: Importance = "inputs"

    def apply(self, model: Model, calibration: Calibration) -> None:
        """See `Step`.

        Raises:
            UserError: also when the model's family cannot say what would be left, nothing would go, or what is left
                would make up for it in a layer that has been pruned.
        """
        check_whole(model)
        assert isinstance(model, Backbone)
        layers, groups, inner = self._left(model)
        if layers < len(model.blocks):
            keep_layers(model, strongest(_worth_of_blocks(model, calibration, self.importance), layers).tolist())
        statistics: dict[str, Statistic] = {}
        if self.importance == "inputs" and (self.heads or self.feed_forward):
            ends = [f"blocks.{n}.{end}" for n in range(layers) for end in ("attention.output", "feed_forward.down")]
            refuse_pruned(model, ends)
            statistics = calibration.statistics(model, ends)
        changes: dict[str, int] = {}
        blocks: list[Any] = list(model.blocks)
        for number, block in enumerate(blocks):
            if self.heads:
                attention, known = block.attention, statistics.get(f"blocks.{number}.attention.output")
                run = attention.heads // attention.key_value_heads * attention.head_width
                keep_groups(
                    attention, strongest(of_inputs(attention.output.weight.detach(), known, run), groups), known
                )
                changes |= {"heads": attention.heads, "key_value_heads": groups}
            if self.feed_forward:
                known = statistics.get(f"blocks.{number}.feed_forward.down")
                worth = of_inputs(block.feed_forward.down.weight.detach(), known)
                keep_inner(block.feed_forward, strongest(worth, inner), known)
                changes["feed_forward"] = inner
        model.config = model.config.model_copy(update=changes)

    def _left(self, model: Backbone) -> tuple[int, int, int]:
        """How many layers, key/value heads and inner places stay."""
        if not (self.feed_forward or self.heads or self.depth):
            raise UserError("The step 'structure' is told to take nothing away.", "Set feed_forward, heads or depth.")
        if self.heads and not isinstance(model, GPT):
            raise UserError(
                "An encoder's heads are as wide as its width divided by their number: fewer cannot be written down.",
                "Leave heads out, and take feed_forward or depth.",
            )
        if self.depth and getattr(model.config, "reversible", False):
            raise UserError("A reversible model keeps its layers: each undoes the next.", "Leave depth out.")
        first: Any = model.blocks[0]
        return (
            _stay(len(model.blocks), self.depth, "layers", "depth"),
            _stay(first.attention.key_value_heads, self.heads, "key/value heads", "heads"),
            _stay(first.feed_forward.up.out_features, self.feed_forward, "inner places", "feed_forward", _WHOLE),
        )


def _stay(count: int, share: float, what: str, setting: str, run: int = 1) -> int:
    """What is left of `count` when about that share goes, in runs of `run` if it is made of such.

    Raises:
        UserError: that would be none, or all.
    """
    run = run if count % run == 0 and count > run else 1
    left = count - int(count * share / run + 0.5) * run  # half a head is one
    if share and not 0 < left < count:
        raise UserError(
            f"{setting}={share} of {count} {what} would take {'all' if left < 1 else 'none'} of them.",
            f"One {'run of 32 is' if run > 1 else 'is'} {run / count:.3g}." if count > run else f"Leave {setting} out.",
        )
    return left


def _worth_of_blocks(model: Backbone, calibration: Calibration, importance: Importance) -> torch.Tensor:
    """(layers,) how much each block does to the states, or how large the numbers are with which it writes to them."""
    if importance == "inputs":
        return torch.tensor(calibration.turns(model))
    blocks: list[Any] = list(model.blocks)
    ends = [(block.attention.output, block.feed_forward.down) for block in blocks]
    return torch.tensor([sum(float(end.weight.detach().square().sum()) for end in both) for both in ends])
