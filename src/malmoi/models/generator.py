"""A generator of images and the discriminator that teaches it (Goodfellow and others 2014, arXiv:1406.2661)."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import nn

from malmoi.models.image_model import ImageConfig


class GeneratorConfig(ImageConfig):
    """Shape of both networks.

    Attributes:
        noise: numbers that an image is made from.
        width: units of the layer next to the noise; the layer next to the image has twice as many.
    """

    noise: PositiveInt = 64
    width: PositiveInt = 256


class Generator(nn.Module):
    """Makes images of noise by linear layers, each of which sees the whole image: right for small ones."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width, shape = config.width, (config.channels, config.size, config.size)
        self.layers = nn.Sequential(
            nn.Linear(config.noise, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, 2 * width, bias=False),
            nn.BatchNorm1d(2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, config.channels * config.size**2),
            nn.Unflatten(1, shape),
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
        width = config.width
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(config.channels * config.size**2, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(rows,) unnormalised log-odds of being real, of (rows, channels, size, size) pixels between 0 and 1."""
        odds: torch.Tensor = self.layers(images)
        return odds.squeeze(1)


class Adversaries(nn.Module):
    """Both networks, trained as one model by `objectives.adversarial`."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)
