"""Put an image into one of several classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from malmoi.data.batch import IGNORED
from malmoi.data.images import ImageBatch
from malmoi.objectives.objective import Loss


class ImageClass:
    """Cross-entropy of the class, over the images whose label is known; `correct` counts the right ones.

    Args:
        moved: while a model trains every image is turned by so many radians at most, and shifted and stretched by such
            a share of its size: it is still of its class.
    """

    def __init__(self, moved: float = 0.0) -> None:
        self.moved = moved

    def loss(self, model: nn.Module, batch: ImageBatch) -> Loss:
        """See `Objective.loss`; `model(images)` gives (rows, classes)."""
        images = moved_images(batch.images, self.moved) if self.moved and model.training else batch.images
        scores: torch.Tensor = model(images).float()
        total = F.cross_entropy(scores, batch.labels, ignore_index=IGNORED, reduction="sum")
        correct = (scores.argmax(-1) == batch.labels).sum()
        return Loss(total, (batch.labels != IGNORED).sum(), {"correct": correct})


def moved_images(images: torch.Tensor, most: float) -> torch.Tensor:
    """(rows, channels, height, width), each turned, stretched and shifted by chance; black comes in from the edges."""
    angle, across, down, x, y = (2 * torch.rand(5, len(images), device=images.device) - 1) * most
    turned = torch.stack(
        [
            torch.stack([angle.cos() * (1 + across), -angle.sin(), x], 1),
            torch.stack([angle.sin(), angle.cos() * (1 + down), y], 1),
        ],
        1,
    )
    places = F.affine_grid(turned, list(images.shape), align_corners=False)
    return F.grid_sample(images, places, align_corners=False)
