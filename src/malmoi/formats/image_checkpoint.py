"""Checkpoints of models of images: safetensors, config.json, card; and public weights by their table of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.core.tensor_file import write_tensors
from malmoi.formats.checkpoint_files import CARD, CONFIG, checkpoint_directory
from malmoi.formats.families import efficientnet
from malmoi.formats.family import Line
from malmoi.formats.fill import fill
from malmoi.formats.mismatch import check_shapes
from malmoi.formats.registry import OWN
from malmoi.formats.state_dict import StateDict
from malmoi.formats.weights import SINGLE, open_weights
from malmoi.models.efficientnet import EfficientNetConfig
from malmoi.models.generator import Generator
from malmoi.models.image_classifier import ImageClassifier
from malmoi.models.image_model import BodyConfig, ImageConfig
from malmoi.models.image_registry import IMAGE_FAMILIES, meta_image_model
from malmoi.models.shapes import shapes_alone, with_memory

_CLASSIFIES, _GENERATES = "MalmoiForImageClassification", "MalmoiForImageGeneration"
_WAY_OUT = "Get the checkpoint again."
_COUNT = "num_batches_tracked"


class Tensors(Protocol):
    """Named tensors of a file, opened but not read."""

    shapes: dict[str, tuple[int, ...]]

    def read(self, name: str) -> torch.Tensor:
        """The tensor `name`, in its stored type."""
        ...


def save_images_checkpoint(directory: Path, model: ImageClassifier | Generator, card: str) -> None:
    """Write a checkpoint that appears whole or not at all; one that stood there before is replaced.

    Args:
        card: Markdown that says what the model is and what it was made of.

    Raises:
        UserError: the disk is full; what stood there before is untouched.
    """
    config = model.body.config if isinstance(model, ImageClassifier) else model.config
    family = next(name for name, (kind, _) in IMAGE_FAMILIES.items() if type(config) is kind)
    fields: dict[str, Any] = {"model_type": OWN, "family": family, **config.model_dump(mode="json")}
    if isinstance(model, ImageClassifier):
        fields["architectures"] = [_CLASSIFIES]
        fields["id2label"] = {str(index): name for index, name in enumerate(model.classes)}
    else:
        fields["architectures"] = [_GENERATES]
    with atomic_directory(directory) as temporary:
        write_tensors(_state(model), temporary / SINGLE)
        write_json(temporary / CONFIG, fields)
        (temporary / CARD).write_text(card, encoding="utf-8")


def is_of_images(path: Path) -> bool:
    """Whether a path holds a checkpoint of a model of images: a directory, or a stage's directory."""
    directory = path if (path / CONFIG).is_file() else path / "model"
    fields = read_json(directory / CONFIG) if (directory / CONFIG).is_file() else {}
    return isinstance(fields, dict) and fields.get("model_type") == OWN and str(fields.get("family")) in IMAGE_FAMILIES


def load_image_classifier(path: Path) -> ImageClassifier:
    """Read a classifier of images, in evaluation mode, on the CPU.

    Args:
        path: a checkpoint's directory, a stage's directory with `model/` in it, or EfficientNet-Lite0's published
            state dict, whose 1,000 classes are ImageNet's by number.

    Raises:
        UserError: there is none, it is not whole, or it makes images.
    """
    if path.is_file():
        return _published(path)
    model = _load(path)
    if not isinstance(model, ImageClassifier):
        raise UserError(f"{path} makes images and names no classes.", "Make another: malmoi classify-images --help")
    return model


def load_generator(path: Path) -> Generator:
    """Read a generator of images. Takes a directory and raises as `load_image_classifier`."""
    model = _load(path)
    if not isinstance(model, Generator):
        raise UserError(f"{path} is a classifier and makes no images.", "Make another: malmoi generate-images --help")
    return model


def _load(path: Path) -> ImageClassifier | Generator:
    if not is_of_images(path):
        raise UserError(f"There is no model of images in {path}.", "Check the path.")
    directory = checkpoint_directory(path)
    where = str(directory / CONFIG)
    fields = read_json(directory / CONFIG)
    kind = IMAGE_FAMILIES[fields["family"]][0]
    config = parse_settings(kind, {name: fields[name] for name in kind.model_fields if name in fields}, where)
    classes = _classes(fields, where) if issubclass(kind, BodyConfig) else []
    with open_weights(directory) as weights:
        model = _meta(config, classes, where)
        plan = [Line(name, (name,)) for name in _state(model)]
        filled: ImageClassifier | Generator = _filled(model, plan, weights, str(directory))
        return filled


def _published(path: Path) -> ImageClassifier:
    """EfficientNet-Lite0 from its state dict."""
    classes = [str(number) for number in range(efficientnet.IMAGENET)]
    model = _meta(EfficientNetConfig(), classes, str(path))
    filled: ImageClassifier = _filled(model, efficientnet.lines(), StateDict(path), str(path))
    return filled


def _filled(model: Any, plan: Sequence[Line], file: Tensors, where: str) -> Any:
    """A model without memory with the tensors of a file, which are compared with its own before memory is taken."""
    theirs = {name: shape for name, shape in file.shapes.items() if not name.endswith(_COUNT)}
    check_shapes(plan, {name: value.shape for name, value in _state(model).items()}, theirs, where)
    with_memory(model)
    for name, buffer in model.named_buffers():
        if name.endswith(_COUNT):
            buffer.zero_()
    fill(plan, _state(model), file.read, where)
    return model.eval()


def _classes(fields: Mapping[str, Any], where: str) -> list[str]:
    names = fields.get("id2label")
    if not isinstance(names, dict) or not names or sorted(names) != sorted(map(str, range(len(names)))):
        raise UserError(f"{where} does not number the classes in id2label from 0.", _WAY_OUT)
    return [str(names[str(index)]) for index in range(len(names))]


def _meta(config: ImageConfig, classes: list[str], where: str) -> ImageClassifier | Generator:
    """The model of a configuration, without memory.

    Raises:
        UserError: the configuration states sizes that no model has.
    """
    try:
        model = meta_image_model(config)
        with shapes_alone():
            return ImageClassifier(model, classes) if classes else model
    except (RuntimeError, TypeError, OverflowError):  # torch takes numbers beyond 64 bits for a wrong type
        raise UserError(f"{where} states sizes that no model has.", _WAY_OUT) from None


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and statistics of batch norms, without the counts of batches, which nothing reads."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith(_COUNT)}
