"""A body of images with a head of classes, and which part of it learns."""

from __future__ import annotations

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.models.image_model import ImageBody
from malmoi.models.initialize import initialize
from malmoi.models.trained_part import lowest_trained


class ImageClassifier(nn.Module):
    """Scores each class from the vector that stands for the whole image.

    Attributes:
        classes: their names, in the order of the scores.
    """

    def __init__(self, body: ImageBody, classes: list[str]) -> None:
        super().__init__()
        self.body = body
        self.classes = classes
        self.score = nn.Linear(body.config.features, len(classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(rows, classes) unnormalised log-probabilities of (rows, channels, size, size) pixels between 0 and 1."""
        return self.upper(self.body.embed(images), 0)

    def lower(self, images: torch.Tensor, end: int) -> torch.Tensor:
        """What the blocks below number `end` give; where that is all of them, (rows, features)."""
        hidden = self.body.through(self.body.embed(images), end=end)
        return self.body.pooled(hidden) if end == len(self.body.blocks) else hidden

    def upper(self, hidden: torch.Tensor, first: int) -> torch.Tensor:
        """What `forward` gives, of what `lower` gave."""
        if first < len(self.body.blocks):
            hidden = self.body.pooled(self.body.through(hidden, first=first))
        scores: torch.Tensor = self.score(hidden)
        return scores


class UpperImageClassifier(nn.Module):
    """The blocks of a classifier from number `first` on, fed with what the frozen ones below gave.

    Frozen blocks are computed once, in evaluation mode, and never run while the others learn: neither their weights
    nor the statistics of their batch norms can change.
    """

    def __init__(self, classifier: ImageClassifier, first: int) -> None:
        super().__init__()
        self.classifier, self.first = classifier, first

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """What `ImageClassifier.lower` gave to (rows, classes)."""
        return self.classifier.upper(hidden, self.first)


def new_image_classifier(body: ImageBody, classes: list[str], seed: int) -> ImageClassifier:
    """A classifier to be trained: a body, whatever it has learned, and a new head."""
    classifier = ImageClassifier(body, classes)
    initialize(classifier.score, seed, prefix="score")
    return classifier


def freeze(body: ImageBody, train: str) -> int:
    """Leave trainable what `train` says of a body; the head learns in any case.

    Args:
        train: "head" for nothing else, "last:N" for the last N blocks, "all" for everything.

    Returns:
        The number of the lowest block that learns.

    Raises:
        UserError: `train` is none of these.
    """
    blocks = len(body.blocks)
    if train.startswith("lora"):
        raise UserError(
            f"train={train!r} is for text: low-rank differences go into linear layers.",
            f"Write head, last:N with N up to {blocks}, or all.",
        )
    first = lowest_trained(train, blocks)
    body.requires_grad_(False)
    body.blocks[first:].requires_grad_(True)
    return first
