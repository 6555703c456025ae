"""Two shapes of translators, and how the second one is published."""

from __future__ import annotations

from typing import Any, Literal

import torch

from malmoi.layers.attention import Attention
from malmoi.models.registry import empty_model
from malmoi.models.seq2seq import EncoderDecoder

Shape = Literal["modern", "original"]

SHAPES: dict[Shape, dict[str, Any]] = {
    "original": {},
    "modern": {
        "norm": "rms",
        "norm_epsilon": 1e-6,
        "norm_first": True,
        "activation": "swiglu",
        "positions": "relative",
        "bias": False,
    },
}
"""What differs from `EncoderDecoderConfig`'s defaults, which are the Transformer of 2017. Marian publishes that shape,
T5 the other one."""


def as_published(model: EncoderDecoder, beams: int) -> EncoderDecoder:
    """The same function in the form in which others open it, to be searched with so many beams."""
    published = without_scales(model) if model.config.positions == "relative" else model
    published.config = published.config.model_copy(update={"beams": beams})
    return published


@torch.no_grad()
def without_scales(model: EncoderDecoder) -> EncoderDecoder:
    """The same function with the scales of attention and embedding inside the weights, as T5 has them.

    Args:
        model: of the modern shape, with a tied head; it is left as it is.
    """
    config = model.config
    changed = {"scaled_attention": False, "scaled_embedding": False, "scaled_head": True}
    folded = empty_model(config.model_copy(update=changed))
    assert isinstance(folded, EncoderDecoder)
    folded.load_state_dict(model.state_dict())
    for module in folded.modules():
        if isinstance(module, Attention):
            module.query.weight.mul_(config.head_width**-0.5)
    folded.embedding.weight.mul_(config.width**0.5)
    return folded.train(model.training)
