"""Train a classifier of images from scratch, or a new head on a pre-trained network, beside controls on raw pixels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn

from malmoi.core.accelerator import pick_device
from malmoi.core.config import parse_settings
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file, write_json
from malmoi.data.image_files import count_images
from malmoi.data.images import ImageSet, image_rows, scaled
from malmoi.evaluate.classification import score_classes
from malmoi.evaluate.image_classes import image_probabilities, lower_states, pixel_controls
from malmoi.formats.image_checkpoint import load_image_classifier, save_images_checkpoint
from malmoi.models.efficientnet import EfficientNetConfig
from malmoi.models.image_classifier import ImageClassifier, UpperImageClassifier, freeze, new_image_classifier
from malmoi.models.image_model import ImageBody, ImageConfig
from malmoi.models.image_registry import IMAGE_FAMILIES, build_image_model, meta_image_model
from malmoi.objectives.image_class import ImageClass
from malmoi.pipeline.costs import UNKNOWN
from malmoi.pipeline.image_costs import operation_seconds, operations
from malmoi.pipeline.labelled_images import ImageSplits, LabelledImagesSettings, images_path, read_image_splits
from malmoi.pipeline.pictures import data_address, png
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.sources.fetch import fetch_image_weights
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

ASSUMED_CLASSES = 10
"""For the estimate, where only so many images of each class are learned from."""

SHOWN, SHOWN_SIZE = 40, 56
"""Wrong images that are kept to be looked at, and their side in pixels at most."""


class ClassifyImagesSettings(LabelledImagesSettings):
    """Settings of the stage, beside those of its images.

    Attributes:
        model: the network to train from scratch.
        base: a stage or checkpoint of a classifier of images to start from, instead.
        weights: a card of public weights to start from, instead.
        train: "head" trains the new head, "last:N" the last N blocks too, "all" all.
        size: pixels of a side that images are scaled to; 0 for what the network is made for.
        channels: of a network from scratch, 1 for grey, 3 for colours.
        rows: images in a step, two at least, among which batch norms take their means.
        epochs: how often each image is seen.
        moved: while learning, images are turned by so many radians at most, and shifted and stretched by such a share
            of their size; 0 leaves them as they are, as frozen blocks need it.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        seed: of the first weights and of the order.
    """

    model: Literal["cnn", "efficientnet-lite0"] = "cnn"
    base: StageInput | None = None
    weights: str = ""
    train: str = "all"
    size: NonNegativeInt = 0
    channels: Literal[1, 3] = 1
    rows: Annotated[int, Field(ge=2)] = 32
    epochs: PositiveFloat = 20
    moved: float = Field(0.0, ge=0, lt=1)
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.01
    seed: int = 0


def run(settings: ClassifyImagesSettings, directory: Path) -> dict[str, Any]:
    """Write `model/`, `wrong.jsonl`, `predictions.json` and `metrics.jsonl` into `directory`."""
    body = _body(settings)
    first = _frozen_below(body, settings)
    splits = read_image_splits(settings, body.config.size, body.config.channels)
    classes, truth = splits.train.classes, splits.test.labels.tolist()
    controls = _controls(splits)
    classifier = new_image_classifier(body, classes, settings.seed).to(pick_device())
    frozen = {name: value.clone() for name, value in body.blocks[:first].state_dict().items()}
    model, inputs = _prepared(classifier, splits, first)
    rows = image_rows(inputs[:2], [splits.train.labels, splits.validation.labels], settings.rows, settings.seed)
    schedule = _schedule(settings, rows.steps(settings.epochs))
    result = Trainer(model, ImageClass(settings.moved), rows, schedule, directory).run()
    with progress("testing", len(truth)) as advance:
        probabilities = image_probabilities(model, inputs[2], advance)
    predicted = probabilities.argmax(-1).tolist()
    facts = {
        **score_classes(classes, truth, predicted).as_json(),
        "controls": controls,
        "network": _network(settings),
        "train": settings.train,
        "size": body.config.size,
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "trained_parameters": sum(one.numel() for one in classifier.parameters() if one.requires_grad),
        "frozen_unchanged": _same(frozen, body.blocks[:first].state_dict()) if first else None,
        **splits.facts(),
        "steps": result.steps,
        "training_seconds": round(result.seconds, 1),
        "validation_loss": result.validation_loss,
    }
    write_json(directory / "predictions.json", {"classes": classes, "truth": truth, "predicted": predicted})
    _keep_wrong(directory / "wrong.jsonl", splits.test, predicted, probabilities)
    save_images_checkpoint(directory / "model", classifier, _card(settings, facts))
    console.print(f"  accuracy {facts['accuracy']:.1%} on {len(truth):,} images; on raw pixels: {_beside(facts)}")
    return facts


def _body(settings: ClassifyImagesSettings) -> ImageBody:
    """The network under the head.

    Raises:
        UserError: two are named, one from scratch would be frozen, or the size does not fit.
    """
    if settings.base is None and not settings.weights:
        if settings.train != "all":
            raise UserError(
                f"train={settings.train!r} freezes a network that has learned nothing.",
                "Name weights=efficientnet-lite0 or a base, or set train=all.",
            )
        new: ImageBody = build_image_model(_config(settings), settings.seed)
        return new
    if settings.base is not None and settings.weights:
        raise UserError("base and weights name two networks to start from.", "Leave one of them out.")
    path = settings.base if settings.base is not None else fetch_image_weights(settings.weights)
    body = load_image_classifier(path).body
    if settings.size:
        body.resize(settings.size)
    return body


def _config(settings: ClassifyImagesSettings) -> ImageConfig:
    """The shape of a network from scratch."""
    shape = {"size": settings.size} if settings.size else {}
    shape |= {"channels": settings.channels} if settings.model == "cnn" else {}
    return parse_settings(IMAGE_FAMILIES[settings.model][0], shape, f"the network {settings.model}")


def _frozen_below(body: ImageBody, settings: ClassifyImagesSettings) -> int:
    """The number of the lowest block that learns."""
    first = freeze(body, settings.train)
    if first and settings.moved:
        raise UserError("moved changes what frozen blocks give, which is computed once.", "Set moved=0 or train=all.")
    return first


def _controls(splits: ImageSplits) -> dict[str, dict[str, Any]]:
    """Scores of methods on raw pixels."""
    with console.status("controls on raw pixels"):
        said = pixel_controls(splits.train, splits.test)
    truth = splits.test.labels.tolist()
    return {name: score_classes(splits.train.classes, truth, numbers).as_json() for name, numbers in said.items()}


def _prepared(classifier: ImageClassifier, splits: ImageSplits, first: int) -> tuple[nn.Module, list[torch.Tensor]]:
    """What learns, and what it is fed with in each split: pixels, or what the frozen blocks give of them."""
    pixels = [part.pixels for part in (splits.train, splits.validation, splits.test)]
    if not first:
        return classifier, pixels
    with progress("frozen blocks", sum(map(len, pixels))) as advance:
        return UpperImageClassifier(classifier, first), [
            lower_states(classifier, part, first, advance) for part in pixels
        ]


def _schedule(settings: ClassifyImagesSettings, steps: int) -> TrainerSettings:
    return TrainerSettings(
        steps=steps,
        optimizer="adamw",
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warm_up=max(1, steps // 10),
        cool_down=0.9,
        validate_every=math.ceil(steps / 10),
        seed=settings.seed,
    )


def _same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, after[name]) for name, value in before.items())


def _keep_wrong(path: Path, test: ImageSet, predicted: list[int], probabilities: torch.Tensor) -> None:
    """The test images that were put into a wrong class, the surest ones first, a record each."""
    truth, sure = test.labels.tolist(), probabilities.amax(-1).tolist()
    wrong = sorted((place for place in range(len(truth)) if truth[place] != predicted[place]), key=lambda p: -sure[p])
    size = min(SHOWN_SIZE, test.pixels.shape[-1])
    with atomic_file(path) as file:
        for place in wrong[:SHOWN]:
            record = {
                "name": test.names[place],
                "true": test.classes[truth[place]],
                "predicted": test.classes[predicted[place]],
                "probability": round(sure[place], 4),
                "picture": data_address(png(scaled(test.pixels[place : place + 1], size, test.pixels.shape[1])[0])),
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _network(settings: ClassifyImagesSettings) -> str:
    return settings.base.name if settings.base is not None else settings.weights or settings.model


def _beside(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {control['accuracy']:.1%}" for name, control in facts["controls"].items())


def _card(settings: ClassifyImagesSettings, facts: dict[str, Any]) -> str:
    start = "from scratch" if settings.base is None and not settings.weights else f"on {facts['network']}"
    return (
        f"# A classifier of images, trained {start}\n\n"
        f"Classes: {', '.join(facts['classes'])}. Network {facts['network']}, images of {facts['size']} x "
        f"{facts['size']} pixels. Trained by malmoi on {facts['train_images']:,} images of {settings.name} "
        f"({settings.train}, {facts['steps']} steps, seed {settings.seed}). Accuracy {facts['accuracy']:.1%} on "
        f"{facts['test_images']:,} other images; on raw pixels: {_beside(facts)}.\n\nOnly malmoi opens it.\n"
    )


def estimate(settings: ClassifyImagesSettings) -> Estimate:
    """Time, where the images are here and the network is no earlier stage's."""
    path = images_path(settings)
    if path is None or (settings.base is not None and not settings.base.exists()):
        return UNKNOWN
    body = _untrained(settings)
    first, all_images = freeze(body, settings.train), count_images(path)
    learned = round(all_images * (1 - settings.test) * (1 - settings.validation))
    if settings.per_class:
        learned = min(learned, settings.per_class * ASSUMED_CLASSES)
    whole, frozen = (operations(body, end) for end in (None, first))
    needed = all_images * whole + 3 * learned * settings.epochs * (whole - frozen)
    words = f"about {learned:,} images to learn from, {whole / 1e6:,.0f} million operations each"
    return Estimate(operation_seconds(needed), lines=(words,))


def _untrained(settings: ClassifyImagesSettings) -> ImageBody:
    """A network of the shape that is asked for, without memory."""
    if settings.base is not None:
        body: ImageBody = meta_image_model(load_image_classifier(settings.base).body.config)
    else:
        body = meta_image_model(EfficientNetConfig() if settings.weights else _config(settings))
    if settings.size:
        body.resize(settings.size)
    return body


STAGE = Stage(ClassifyImagesSettings, run, estimate)
