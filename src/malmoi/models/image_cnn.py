"""The convolutional network of a first course: two convolutions, pooling, a linear layer, dropout."""

from __future__ import annotations

from typing import Annotated, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import nn

from malmoi.models.image_model import BodyConfig, ImageBody


class CNNConfig(BodyConfig):
    """Shape of the network.

    Attributes:
        filters: of the first and of the second convolution, 3 x 3 pixels each.
        width: of the linear layer.
        dropout: share of the numbers left out after pooling; twice as many after the linear layer.
    """

    filters: tuple[PositiveInt, PositiveInt] = (32, 64)
    width: PositiveInt = 128
    dropout: Annotated[float, Field(ge=0, lt=0.5)] = 0.25

    @property
    def features(self) -> int:
        """Size of the vector that stands for an image."""
        return self.width

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.size < 6:
            raise ValueError(f"two convolutions and pooling need images of 6 x 6 pixels or more, not {self.size}")
        return self


class CNN(ImageBody):
    """LeNet's plan (LeCun and others 1998) with today's parts: rectifiers, one maximum pooling, dropout.

    The last linear layer, one score a class, is the classifier's.
    """

    config: CNNConfig

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.filters
        side = (config.size - 4) // 2
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(config.channels, first, 3), nn.ReLU()),
                nn.Sequential(nn.Conv2d(first, second, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(config.dropout)),
                nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(second * side * side, config.width),
                    nn.ReLU(),
                    nn.Dropout(2 * config.dropout),
                ),
            ]
        )

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels around zero; see `ImageBody.embed`."""
        return super().embed(images) * 2 - 1
