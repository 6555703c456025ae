"""What models of images have in common: a stack of blocks between pixels and one vector an image."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import nn

from malmoi.core.config import Settings
from malmoi.core.errors import UserError


class ImageConfig(Settings):
    """Base of the configurations of models of images.

    Attributes:
        size: pixels of a side; images are square.
        channels: 1 for grey, 3 for red, green and blue.
    """

    size: PositiveInt = 28
    channels: Literal[1, 3] = 1


class BodyConfig(ImageConfig):
    """Base of the configurations of what a classifier of images stands on."""

    @property
    def features(self) -> int:
        """Size of the vector that stands for an image."""
        raise NotImplementedError


class ImageBody(nn.Module):
    """A stack of blocks that makes one vector of an image.

    Attributes:
        blocks: what the image passes, from below.
    """

    config: BodyConfig
    blocks: nn.ModuleList

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(rows, features) of (rows, channels, size, size) pixels between 0 and 1."""
        return self.pooled(self.through(self.embed(images)))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """What the first block gets, of (rows, channels, size, size) pixels between 0 and 1.

        Raises:
            UserError: the images are of another size.
        """
        wanted = (self.config.channels, self.config.size, self.config.size)
        if tuple(images.shape[1:]) != wanted:
            raise UserError(
                f"Images of the shape {tuple(images.shape[1:])} came to a model that reads {wanted}.",
                "Scale them: channels, height and width.",
            )
        return images

    def through(self, hidden: torch.Tensor, *, first: int = 0, end: int | None = None) -> torch.Tensor:
        """What comes out of the blocks from `first` to before `end`, all by default."""
        for block in self.blocks[first:end]:
            hidden = block(hidden)
        return hidden

    def pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, features), of what the last block gives."""
        return hidden

    def resize(self, size: int) -> None:
        """Read images of another size from now on.

        Raises:
            UserError: this network reads one size alone, since its linear layer has a weight for every place.
        """
        if size != self.config.size:
            raise UserError(
                f"This network reads images of {self.config.size} x {self.config.size} pixels, not of {size}.",
                "Leave size out: images are scaled.",
            )
