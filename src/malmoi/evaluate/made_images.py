"""What made images are worth: which classes a classifier sees in them, how like real ones they are, how varied."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from malmoi.data.images import ImageSet
from malmoi.evaluate.image_classes import image_probabilities
from malmoi.models.image_classifier import ImageClassifier

NEIGHBOURS, COMPARED = 3, 350
"""How near counts as like: within the distance of an image's third neighbour; and among how many images."""


@dataclass(frozen=True)
class MadeScore:
    """Figures of a set of images. Distances are between pixels, which suits small images in the middle of their frame.

    Attributes:
        shares: of each class, by the classifier's first choice.
        sure: share whose class has at least the probability asked for.
        real: share that is as near to an image that was learned from as its third neighbour is to that one; the
            precision of Kynkäänniemi and others 2019 (arXiv:1904.06991).
        variety: share of the learned images that are likewise near to one of the set, their recall.
        nearest: median distance to the nearest image that was learned from, as the root of the mean square of the
            differences of pixels between 0 and 1: nothing for copies.
    """

    shares: list[float]
    sure: float
    real: float
    variety: float
    nearest: float

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
    made, known = (_compared(part).flatten(1).float() / 255 for part in (images, learned))
    between = _distances(made, known)
    return MadeScore(
        (numbers.bincount(minlength=len(judge.classes)) / len(images)).tolist(),
        float((probabilities >= sure).float().mean()),
        float((between <= _reach(known)).any(1).float().mean()),
        float((between <= _reach(made)[:, None]).any(0).float().mean()),
        float(between.amin(1).median()) / known.shape[1] ** 0.5,
    )


def _compared(images: torch.Tensor) -> torch.Tensor:
    """`COMPARED` of many images, from the first to the last: those of a folder stand class by class."""
    count = min(len(images), COMPARED)
    return images[torch.arange(count) * len(images) // max(1, count)]


def _reach(flat: torch.Tensor) -> torch.Tensor:
    """(images,) the distance of each of (images, numbers) to its third neighbour among the others; 0 without any."""
    if len(flat) == 1:
        return flat.new_zeros(1)
    among = _distances(flat, flat).fill_diagonal_(torch.inf)
    return among.kthvalue(min(NEIGHBOURS, len(flat) - 1), 1).values


def _distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Between (images, numbers) and others, exactly 0 between equal ones."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


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
