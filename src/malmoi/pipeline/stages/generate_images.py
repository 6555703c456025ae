"""Train a generator of images against a discriminator, and let a classifier say what it makes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from malmoi.core.accelerator import device_of
from malmoi.core.config import parse_settings
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file
from malmoi.data.images import ImageSet, image_rows
from malmoi.evaluate.made_images import gaussian_images, mean_images, score_made
from malmoi.formats.image_checkpoint import load_image_classifier, save_images_checkpoint
from malmoi.layers.seeded import fill_normal
from malmoi.models.generator import Generator, GeneratorConfig
from malmoi.models.image_classifier import ImageClassifier
from malmoi.models.image_registry import build_adversaries
from malmoi.objectives.adversarial import Adversarial
from malmoi.pipeline.costs import UNKNOWN
from malmoi.pipeline.labelled_images import LabelledImagesSettings, read_image_splits
from malmoi.pipeline.pictures import grid, png
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.train.samples import Samples
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

COLUMNS = 10
"""Images in a row of a picture."""

WATCHED = 60
"""Images that are made of the same noise at every moment."""

AT_ONCE = 250


class GenerateImagesSettings(LabelledImagesSettings):
    """Settings of the stage, beside those of its images.

    Attributes:
        judge: a stage or checkpoint of a classifier of such images, which says what was made.
        noise: numbers that an image is made from.
        width: units of the layer next to the noise; the layer next to the image has twice as many.
        rows: images in a step, two at least, among which batch norms take their means.
        epochs: how often each image is seen.
        moved: the discriminator sees images turned by so many radians at most, and shifted and stretched by such a
            share of their size; 0 as they are.
        learning_rate: of AdamW, for both networks; its betas are 0.5 and 0.999.
        pictures: moments of the training at which images are drawn.
        samples: images that the judge looks at.
        sure: probability from which the judge counts as sure.
        seed: of the first weights, of the order and of the noise.
    """

    judge: StageInput
    noise: PositiveInt = 64
    width: PositiveInt = 256
    rows: Annotated[int, Field(ge=2)] = 64
    epochs: PositiveFloat = 300
    moved: float = Field(0.1, ge=0, lt=1)
    learning_rate: PositiveFloat = 5e-4
    pictures: PositiveInt = 6
    samples: Annotated[int, Field(ge=10)] = 1_000
    sure: Annotated[float, Field(gt=0, lt=1)] = 0.9
    seed: int = 0


def run(settings: GenerateImagesSettings, directory: Path) -> dict[str, Any]:
    """Write `model/`, `pictures/` and `metrics.jsonl` into `directory`."""
    judge = load_image_classifier(settings.judge)
    shape = judge.body.config
    config = _config(settings, shape.size, shape.channels)
    splits = read_image_splits(settings, config.size, config.channels)
    _check_classes(judge, splits.train)
    adversaries = build_adversaries(config, settings.seed)
    generator = adversaries.generator
    watched = _noise(config, WATCHED, settings.seed, "watched")

    def draw(step: int) -> None:
        _write(directory / "pictures" / f"step-{step:06d}.png", make_images(generator, watched))

    pixels = [splits.train.pixels, splits.validation.pixels]
    rows = image_rows(pixels, [splits.train.labels, splits.validation.labels], settings.rows, settings.seed)
    steps = rows.steps(settings.epochs)
    trainer = TrainerSettings(
        steps=steps,
        optimizer="adamw",
        learning_rate=settings.learning_rate,
        betas=(0.5, 0.999),
        cool_down=0.5,
        clip=0,  # of one norm over both networks there is no use
        validate_every=math.ceil(steps / 40),
        seed=settings.seed,
    )
    samples = Samples(settings.pictures, draw)
    result = Trainer(adversaries, Adversarial(settings.moved), rows, trainer, directory, samples).run()
    made = make_images(generator, _noise(config, settings.samples, settings.seed, "samples"))
    learned = splits.train.pixels
    shown = {
        "made": made,
        "held_out": splits.test.pixels,
        "gaussian": gaussian_images(splits.train, settings.samples, settings.seed),
        "means": mean_images(splits.train, settings.samples, settings.seed),
    }
    scores = {name: score_made(judge, images, learned, settings.sure) for name, images in shown.items()}
    for name, images in shown.items():
        _write(directory / "pictures" / f"{name}.png", images[:WATCHED])
    facts = {
        "classes": judge.classes,
        "least_share": min(scores["made"].shares),
        "samples": settings.samples,
        "sure": settings.sure,
        "scores": {name: score.as_json() for name, score in scores.items()},
        "generator_parameters": _size(generator),
        "discriminator_parameters": _size(adversaries.discriminator),
        **splits.facts(),
        "steps": result.steps,
        "training_seconds": round(result.seconds, 1),
    }
    save_images_checkpoint(directory / "model", generator, _card(settings, facts))
    console.print(
        f"  the judge sees every one of {len(judge.classes)} classes in at least {facts['least_share']:.1%} of "
        f"{settings.samples:,} images and is sure of {scores['made'].sure:.1%}; of held-out images of "
        f"{scores['held_out'].sure:.1%}, of pixel-wise noise around the means of {scores['gaussian'].sure:.1%}"
    )
    return facts


@torch.inference_mode()
def make_images(generator: Generator, noise: torch.Tensor) -> torch.Tensor:
    """(images, channels, size, size) uint8 of (images, noise) numbers; leaves the generator in evaluation mode."""
    generator.eval()
    parts = [generator(part) for part in torch.split(noise.to(device_of(generator)), AT_ONCE)]
    return (torch.cat(parts).cpu() * 255).round().to(torch.uint8)


def _config(settings: GenerateImagesSettings, size: int, channels: int) -> GeneratorConfig:
    values = {"size": size, "channels": channels, "noise": settings.noise, "width": settings.width}
    return parse_settings(GeneratorConfig, values, "the generator, whose images are of the judge's size")


def _noise(config: GeneratorConfig, count: int, seed: int, purpose: str) -> torch.Tensor:
    """(count, noise) normal numbers, a pure function of seed and purpose."""
    noise = torch.empty(count, config.noise)
    fill_normal(noise, 1.0, seed, purpose)
    return noise


def _check_classes(judge: ImageClassifier, learned: ImageSet) -> None:
    if judge.classes != learned.classes:
        raise UserError(
            f"The judge knows the classes {', '.join(judge.classes)}, and the images have "
            f"{', '.join(learned.classes)}.",
            "Take a judge that learned from these images: malmoi classify-images.",
        )


def _write(path: Path, images: torch.Tensor) -> None:
    with atomic_file(path, "wb") as file:
        file.write(png(grid(images, COLUMNS)))


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _card(settings: GenerateImagesSettings, facts: dict[str, Any]) -> str:
    return (
        f"# A generator of images\n\n"
        f"Makes images like those of {settings.name} from {settings.noise} random numbers. Trained by malmoi against a "
        f"discriminator on {facts['train_images']:,} images ({facts['steps']} steps, seed {settings.seed}). In "
        f"{settings.samples:,} images a classifier sees each class at least {facts['least_share']:.1%} of the time.\n\n"
        f"Only malmoi opens it.\n"
    )


STAGE = Stage(GenerateImagesSettings, run, lambda settings: UNKNOWN)
