"""Which labelled images a stage learns from and is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt

from malmoi.core.config import Settings
from malmoi.core.console import console, verbatim
from malmoi.data.image_files import read_images
from malmoi.data.images import ImageSet, few_of_each, split_images
from malmoi.pipeline.stage import StageInput
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files
from malmoi.sources.fetch import fetch_source


class LabelledImagesSettings(Settings):
    """Where labelled images are and how they are split.

    Attributes:
        fetch: a fetch stage that has the images of `source`.
        source: a card of labelled images.
        images: your own, instead of `fetch` and `source`: a folder with a folder of images a class, a folder with
            MNIST's idx files, or a table of pixels.
        per_class: learn from so many images of every class only; 0 for all.
        validation, test: shares of every class; where a test set of its own comes with the images, it is taken.
        split_seed: of the splits.
    """

    fetch: StageInput | None = None
    source: str = "digits"
    images: StageInput | None = None
    per_class: NonNegativeInt = 0
    validation: float = Field(0.1, ge=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)
    split_seed: int = 0

    @property
    def name(self) -> str:
        """What the images are called in words."""
        return self.images.name if self.images is not None else self.source


@dataclass(frozen=True)
class ImageSplits:
    """Three sets that have no image in common."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet

    def facts(self) -> dict[str, Any]:
        """Their sizes, and what could not be read."""
        return {
            "train_images": len(self.train),
            "validation_images": len(self.validation),
            "test_images": len(self.test),
            "skipped_images": self.train.skipped,
        }


def read_image_splits(settings: LabelledImagesSettings, size: int, channels: int) -> ImageSplits:
    """The images, scaled; fetched where they are named by their card alone.

    Raises:
        UserError: as `read_images`, or a class has too few images.
    """
    whole, test = read_images(images_path(settings) or fetch_source(settings.source)[0], size, channels)
    seed = settings.split_seed
    if test is None:
        rest, held = split_images(whole.labels, settings.test, seed, "testing")
        whole, test = whole.take(rest), whole.take(held)
    rest, held = split_images(whole.labels, settings.validation, seed, "validation")
    train, validation = whole.take(rest), whole.take(held)
    if settings.per_class:
        train = train.take(few_of_each(train.labels, settings.per_class, seed))
    if whole.skipped:
        name, why = next(iter(whole.skipped.items()))
        console.print(
            f"  [yellow]{len(whole.skipped)} files left out, the first {verbatim(name)}: {verbatim(why)}[/yellow]"
        )
    return ImageSplits(train, validation, test)


def images_path(settings: LabelledImagesSettings) -> Path | None:
    """Where the images are; None where they have yet to be fetched."""
    if settings.images is not None:
        return settings.images
    here = settings.fetch is not None and (settings.fetch / MANIFEST).is_file()
    return manifest_files(settings.fetch, settings.source)[0] if settings.fetch and here else None
