"""EfficientNet-Lite0: a pre-trained network that is small enough for a processor.

EfficientNet (Tan and Le 2019, arXiv:1905.11946) in its Lite form: inverted bottlenecks with depthwise convolutions
(Sandler and others 2018, arXiv:1801.04381), ReLU6, no squeeze-and-excitation.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from malmoi.models.image_model import BodyConfig, ImageBody

STAGES = (
    # blocks, kernel, stride, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Table 1 of the paper, which Lite0 shares with B0; the stride is that of a stage's first block."""

STEM, TOP = 32, 1280
"""Filters of the first convolution and of the last."""

LEFT_OUT = 0.2
"""Share of the features that dropout leaves out before the scores."""


class EfficientNetConfig(BodyConfig):
    """Shape of the network; the published weights saw images of 224 x 224 pixels, other sizes work too."""

    size: Annotated[int, Field(ge=32)] = 224
    channels: Literal[3] = 3

    @property
    def features(self) -> int:
        """Size of the vector that stands for an image."""
        return TOP


class EfficientNet(ImageBody):
    """A stem, 16 inverted bottlenecks and a last convolution: 18 blocks, of which `train: last:N` counts."""

    config: EfficientNetConfig

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList([Unit(config.channels, STEM, 3, 2)])
        channels = STEM
        for blocks, kernel, stride, expansion, filters in STAGES:
            for number in range(blocks):
                self.blocks.append(Bottleneck(channels, filters, kernel, 1 if number else stride, expansion))
                channels = filters
        self.blocks.append(Unit(channels, TOP, 1, 1))
        self.dropout = nn.Dropout(LEFT_OUT)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels as the published weights want them, (value - 127) / 128 of bytes; see `ImageBody.embed`."""
        return (super().embed(images) * 255 - 127) / 128

    def pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        """The mean over all places: (rows, 1280) of (rows, 1280, height, width)."""
        pooled: torch.Tensor = self.dropout(hidden.mean((2, 3)))
        return pooled

    def resize(self, size: int) -> None:
        """Any size goes: convolutions look everywhere alike, and the mean is over all places."""
        self.config = self.config.model_copy(update={"size": size})


class Unit(nn.Module):
    """A convolution, batch norm and, unless it ends a bottleneck, ReLU6."""

    def __init__(
        self, channels: int, filters: int, kernel: int, stride: int, groups: int = 1, *, activated: bool = True
    ) -> None:
        super().__init__()
        self.filters = nn.Conv2d(channels, filters, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(filters, eps=1e-3)
        self.activated = activated

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, channels, height, width) to (rows, filters, height / stride, width / stride), rounded up."""
        hidden = self.norm(self.filters(self._padded(hidden)))
        return F.relu6(hidden) if self.activated else hidden

    def _padded(self, hidden: torch.Tensor) -> torch.Tensor:
        """With zeros around it as TensorFlow's SAME has them: where their number is odd, one more below and right."""
        kernel, stride = self.filters.kernel_size[0], self.filters.stride[0]
        padding = []
        for size in (hidden.shape[3], hidden.shape[2]):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            padding += [total // 2, total - total // 2]
        return F.pad(hidden, padding) if any(padding) else hidden


class Bottleneck(nn.Module):
    """Widens, looks at each channel's neighbourhood alone, narrows; added to its input where the shapes allow it."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels * expansion
        self.expand = Unit(channels, width, 1, 1) if expansion > 1 else None
        self.depthwise = Unit(width, width, kernel, stride, groups=width)
        self.project = Unit(width, filters, 1, 1, activated=False)
        self.residual = stride == 1 and channels == filters

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, channels, height, width) to (rows, filters, height / stride, width / stride), rounded up."""
        wide = hidden if self.expand is None else self.expand(hidden)
        narrow: torch.Tensor = self.project(self.depthwise(wide))
        return hidden + narrow if self.residual else narrow
