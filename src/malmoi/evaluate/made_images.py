"""What made images are worth: which classes a classifier sees in them, how near they come to real ones, how varied."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from malmoi.data.images import ImageSet
from malmoi.evaluate.image_classes import image_probabilities
from malmoi.models.image_classifier import ImageClassifier

COMPARED = 360
"""Images among which variety is measured, the same number of every kind."""


@dataclass(frozen=True)
class MadeScore:
    """Figures of a set of images.

    Attributes:
        shares: of each class, by the classifier's first choice.
        sure: share whose class has at least the probability asked for.
        sure_shares: of each class, among all images, those alone that are sure.
        nearest: median distance to the nearest image that was learned from, as the root of the mean square of the
            differences of pixels between 0 and 1.
        apart: median distance to the nearest other image of the same set.
    """

    shares: list[float]
    sure: float
    sure_shares: list[float]
    nearest: float
    apart: float

    def as_json(self) -> dict[str, Any]:
        """What goes into a stage's result."""
        return asdict(self)


def score_made(judge: ImageClassifier, images: torch.Tensor, learned: torch.Tensor, sure: float) -> MadeScore:
    """Figures of (images, channels, size, size) uint8 pixels.

    Args:
        learned: what a generator has seen, likewise.
        sure: probability from which the classifier counts as sure.
    """
    probabilities, numbers = image_probabilities(judge, images).max(-1)
    size, certain = len(judge.classes), probabilities >= sure
    flat, known = (part.flatten(1).float() / 255 for part in (images, learned))
    among = torch.cdist(flat[:COMPARED], flat[:COMPARED]).fill_diagonal_(torch.inf)
    root = flat.shape[1] ** 0.5
    return MadeScore(
        (numbers.bincount(minlength=size) / len(images)).tolist(),
        float(certain.float().mean()),
        (numbers[certain].bincount(minlength=size) / len(images)).tolist(),
        float(torch.cdist(flat, known).amin(1).median()) / root,
        float(among.amin(1).median()) / root,
    )


def gaussian_images(learned: ImageSet, count: int, seed: int) -> torch.Tensor:
    """A control: about as many of every class, each pixel drawn alone with the mean and deviation it has there."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for mean, deviation, number in _classes(learned, count):
        drawn = mean + deviation * torch.randn((number, *mean.shape), generator=generator)
        made.append(drawn.round().clamp(0, 255).to(torch.uint8))
    return _shuffled(torch.cat(made), generator)


def mean_images(learned: ImageSet, count: int, seed: int) -> torch.Tensor:
    """A control without any variety: the mean image of every class, again and again."""
    made = [mean.round().to(torch.uint8).expand(number, *mean.shape) for mean, _, number in _classes(learned, count)]
    return _shuffled(torch.cat(made), torch.Generator().manual_seed(seed))


def _classes(learned: ImageSet, count: int) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    """Mean and deviation of the pixels of each class, and how many images of it make `count` together."""
    size = len(learned.classes)
    parts = [learned.pixels[learned.labels == label].float() for label in range(size)]
    return [
        (part.mean(0), part.std(0, correction=0), count // size + (label < count % size))
        for label, part in enumerate(parts)
    ]


def _shuffled(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images[torch.randperm(len(images), generator=generator)]
