"""A language model of gated causal convolutions (Dauphin and others 2016, arXiv:1612.08083).

As there: gated linear units in residual blocks. Other than there: the filters of later blocks are spread out (van den
Oord and others 2016, arXiv:1609.03499), so that few blocks see far, and norms stand before the blocks in place of
normalised weights.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat
from torch import nn

from malmoi.layers.gated_convolution import GatedConvolution
from malmoi.layers.norms import RMSNorm
from malmoi.layers.states import State
from malmoi.models.stateful import StatefulBlock, StatefulConfig, StatefulModel


class ConvolutionConfig(StatefulConfig):
    """Residual blocks of a gated convolution and a linear layer. `dropout` is on embeddings and what blocks add.

    Attributes:
        reach: inputs that a filter sees.
        dilations: the inputs of a filter are 1, 2, 4 and so on apart, for so many blocks, then from 1 again; 1 for
            filters without gaps.
    """

    reach: Annotated[int, Field(ge=2, le=64)] = 3
    dilations: Annotated[int, Field(ge=1, le=12)] = 6
    norm_epsilon: PositiveFloat = 1e-6

    def dilation(self, index: int) -> int:
        """Of the filters of block `index`."""
        return int(2 ** (index % self.dilations))

    @property
    def mixing(self) -> list[str]:
        """See `LanguageModelConfig.mixing`: how many tokens the uppermost block sees, through those below."""
        seen = 1 + sum((self.reach - 1) * self.dilation(index) for index in range(self.layers))
        return [f"convolution({seen})"]


class Convolution(StatefulModel):
    """Embeddings, blocks of convolutions, a final norm, the head."""

    config: ConvolutionConfig

    def __init__(self, config: ConvolutionConfig) -> None:
        blocks = (ConvolutionBlock(config, config.dilation(index)) for index in range(config.layers))
        super().__init__(config, blocks, RMSNorm(config.width, config.norm_epsilon))


class ConvolutionBlock(StatefulBlock):
    """A gated convolution of a normed copy, added to the residual stream. Its state are the last inputs it has seen."""

    def __init__(self, config: ConvolutionConfig, dilation: int) -> None:
        super().__init__()
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.filters = GatedConvolution(config.width, config.reach, dilation)
        self.output = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def empty_state(self, rows: int, dtype: torch.dtype, device: torch.device) -> State:
        """See `StatefulBlock.empty_state`."""
        return (torch.zeros(rows, self.filters.span, self.output.in_features, dtype=dtype, device=device),)

    def forward(self, hidden: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """See `StatefulBlock.forward`."""
        gated, last = self.filters(self.norm(hidden), state[0])
        return hidden + self.dropout(self.output(gated)), (last,)
