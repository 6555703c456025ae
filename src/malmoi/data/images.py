"""Labelled images in memory, their batches and their splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import psutil
import torch
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.data.batch import Batch
from malmoi.data.order import permute
from malmoi.data.rows import Rows

Example: TypeAlias = tuple[torch.Tensor, int]
"""An image, or what frozen blocks gave of it, and the number of its class."""


@dataclass(frozen=True)
class ImageBatch(Batch):
    """Images with one class each.

    Attributes:
        images: (rows, channels, size, size) float32, pixels between 0 and 1; or what frozen blocks gave of them.
        labels: (rows,) int64, index of the class; IGNORED when it is not known.
    """

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class ImageSet:
    """Images of one size.

    Attributes:
        pixels: (images, channels, size, size) uint8.
        labels: (images,) int64, index into `classes`.
        classes: their names.
        names: what each image is called: a file's path, or its number in a table.
        skipped: files that could not be read, and why.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    classes: list[str]
    names: list[str]
    skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Sequence[int]) -> ImageSet:
        """Those of these places, in this order."""
        places = torch.as_tensor(chosen, dtype=torch.int64)
        names = [self.names[place] for place in places.tolist()]
        return ImageSet(self.pixels[places], self.labels[places], self.classes, names, self.skipped)


def collate_images(examples: Sequence[Example]) -> ImageBatch:
    """Some images as a batch."""
    images, labels = zip(*examples, strict=True)
    return ImageBatch(as_inputs(torch.stack(images)), torch.tensor(labels))


def image_rows(inputs: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], rows: int, seed: int) -> Rows[Example]:
    """A `BatchSource` of images to learn from, the first of each, and held-out ones, the second.

    Args:
        inputs: (images, ...) what networks read, see `as_inputs`.
        labels: (images,) int64.
        rows: images in a micro-batch.
    """
    learned, watched = (
        list(zip(images, numbers.tolist(), strict=True)) for images, numbers in zip(inputs, labels, strict=True)
    )
    return Rows(learned, watched, lambda example: 1, collate_images, rows, seed=seed)


def as_inputs(images: torch.Tensor) -> torch.Tensor:
    """What networks read: uint8 pixels between 0 and 1, anything else as it is."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def scaled(pixels: torch.Tensor, size: int, channels: int) -> torch.Tensor:
    """(images, any channels, height, width) to (images, channels, size, size), both uint8.

    The middle square is taken, and scaled bilinearly, in steps that skip no pixel where it shrinks. Grey is the mean of
    the colours weighed as ITU-R BT.601 weighs them.
    """
    height, width = pixels.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, :, top : top + side, left : left + side].float()
    if square.shape[1] != channels:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        square = (square * weights).sum(1, keepdim=True) if channels == 1 else square.expand(-1, channels, -1, -1)
    if side != size:
        square = F.interpolate(square, (size, size), mode="bilinear", antialias=True)
    return square.round().clamp(0, 255).to(torch.uint8)


def check_room(images: int, size: int, channels: int) -> None:
    """Refuse more images than fit into memory, before any is read.

    Raises:
        UserError: they would take more than half of what is free.
    """
    wanted, free = images * channels * size * size, psutil.virtual_memory().available
    if wanted > free // 2:
        raise UserError(
            f"{images:,} images of {size} x {size} pixels take {wanted / 2**30:,.1f} GiB; {free / 2**30:.1f} are free.",
            "Set a smaller size, or give fewer images.",
        )


def split_images(labels: torch.Tensor, share: float, seed: int, purpose: str) -> tuple[list[int], list[int]]:
    """Places of the images that stay, and of a share of every class that is held out; both in rising order.

    Args:
        labels: (images,) int64.
        purpose: what the others are for; splits for other purposes are drawn anew.

    Raises:
        UserError: a class has too few images to be on both sides.
    """
    held: list[int] = []
    for label in np.unique(labels).tolist():
        members = (labels == label).nonzero().flatten().numpy()
        count = round(share * len(members))
        if share and not 0 < count < len(members):
            raise UserError(
                f"Class number {label} has {len(members)} images; {share:.0%} of them are none or all, for {purpose}.",
                "Give it more images, or hold out another share.",
            )
        order = permute(np.arange(len(members), dtype=np.uint64), len(members), f"{seed}/{purpose}/{label}")
        held += members[order[:count].astype(int)].tolist()
    chosen = set(held)
    return [place for place in range(len(labels)) if place not in chosen], sorted(held)


def few_of_each(labels: torch.Tensor, count: int, seed: int) -> list[int]:
    """Places of so many images of every class, in rising order.

    Raises:
        UserError: a class has fewer.
    """
    chosen: list[int] = []
    for label in np.unique(labels).tolist():
        members = (labels == label).nonzero().flatten().numpy()
        if len(members) < count:
            raise UserError(f"Class number {label} has {len(members)} images to learn from, not {count}.", "Ask fewer.")
        order = permute(np.arange(len(members), dtype=np.uint64), len(members), f"{seed}/few/{label}")
        chosen += members[order[:count].astype(int)].tolist()
    return sorted(chosen)
