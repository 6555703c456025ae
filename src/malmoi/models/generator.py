"""A generator of images and the discriminator that teaches it, after DCGAN (Radford and others 2015, 1511.06434)."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import PositiveInt, model_validator
from torch import nn

from malmoi.models.image_model import ImageConfig


class GeneratorConfig(ImageConfig):
    """Shape of both networks.

    Attributes:
        noise: numbers that an image is made from.
        filters: of the layer next to the image; the layer before it has twice as many.
    """

    noise: PositiveInt = 64
    filters: PositiveInt = 32

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.size % 4:
            raise ValueError(f"the size is doubled twice, so {self.size} must be a multiple of 4, such as 28")
        return self


class Generator(nn.Module):
    """Makes images of noise: a linear layer, then two transposed convolutions that double height and width."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        filters, side = config.filters, config.size // 4
        self.layers = nn.Sequential(
            nn.Linear(config.noise, 2 * filters * side * side, bias=False),
            nn.Unflatten(1, (2 * filters, side, side)),
            nn.BatchNorm2d(2 * filters),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * filters, filters, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.ConvTranspose2d(filters, config.channels, 4, stride=2, padding=1),
        )

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """(rows, noise) normal numbers to (rows, channels, size, size) pixels between 0 and 1."""
        images: torch.Tensor = self.layers(noise)
        return images.sigmoid()


class Discriminator(nn.Module):
    """Tells real images from made ones.

    It has no batch norm: what it says of an image would else depend on the others in the batch, and whether a batch is
    real or made would show in its mean.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        filters, side = config.filters, config.size // 4
        self.layers = nn.Sequential(
            nn.Conv2d(config.channels, filters, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Conv2d(filters, 2 * filters, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(2 * filters * side * side, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(rows,) unnormalised log-odds of being real, of (rows, channels, size, size) pixels between 0 and 1."""
        odds: torch.Tensor = self.layers(images * 2 - 1)
        return odds.squeeze(1)


class Adversaries(nn.Module):
    """Both networks, trained as one model by `objectives.adversarial`."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)
