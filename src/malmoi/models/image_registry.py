"""The families of models of images, one line each, and how one is built."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from malmoi.models.efficientnet import EfficientNet, EfficientNetConfig
from malmoi.models.generator import Adversaries, Generator, GeneratorConfig
from malmoi.models.image_cnn import CNN, CNNConfig
from malmoi.models.image_model import ImageConfig
from malmoi.models.initialize import initialize
from malmoi.models.shapes import shapes_alone, with_memory

ModelType = TypeVar("ModelType", bound=nn.Module)

IMAGE_FAMILIES: dict[str, tuple[type[ImageConfig], Any]] = {
    "cnn": (CNNConfig, CNN),
    "efficientnet-lite0": (EfficientNetConfig, EfficientNet),
    "generator": (GeneratorConfig, Generator),
}
"""Family name to (configuration class, model class)."""


def build_image_model(config: ImageConfig, seed: int) -> Any:
    """A model with its first weights, float32 on the CPU."""
    return with_first_weights(meta_image_model(config), seed)


def build_adversaries(config: GeneratorConfig, seed: int) -> Adversaries:
    """A generator and its discriminator with their first weights."""
    with shapes_alone():
        adversaries = Adversaries(config)
    return with_first_weights(adversaries, seed)


def meta_image_model(config: ImageConfig) -> Any:
    """A model with shapes but no memory."""
    build = next(build for kind, build in IMAGE_FAMILIES.values() if type(config) is kind)
    with shapes_alone():
        return build(config)


def with_first_weights(model: ModelType, seed: int) -> ModelType:
    """A model that had no memory, now on the CPU and filled with its first weights."""
    initialize(with_memory(model), seed)
    return model
