"""Classes of images by a network, and the controls beside it, which look at raw pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.core.errors import MissingExtra
from malmoi.data.images import ImageSet, as_inputs, scaled
from malmoi.models.image_classifier import ImageClassifier

ROWS = 64
"""Images that are looked at together."""

CONTROL_SIZE = 28
"""Pixels of a side that the controls look at, at most."""


@torch.inference_mode()
def image_probabilities(model: nn.Module, images: torch.Tensor, advance: Advance | None = None) -> torch.Tensor:
    """(images, classes) float32 probabilities.

    Args:
        model: gives (rows, classes) scores.
        images: (images, channels, size, size), uint8 pixels; or float32, pixels between 0 and 1 or what frozen blocks
            gave of them.
        advance: told of every batch.
    """
    model.eval()
    return _of_each(model, lambda part: model(part).float().softmax(-1), images, advance)


@torch.no_grad()  # not inference_mode, since gradients flow through the blocks above
def lower_states(
    classifier: ImageClassifier, images: torch.Tensor, end: int, advance: Advance | None = None
) -> torch.Tensor:
    """What the blocks below number `end` give of (images, channels, size, size) uint8, for `UpperImageClassifier`."""
    classifier.eval()
    return _of_each(classifier, lambda part: classifier.lower(part, end), images, advance)


def _of_each(
    model: nn.Module,
    compute: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    advance: Advance | None,
) -> torch.Tensor:
    """What `compute` gives for all images, some at a time on the model's device."""
    rows = []
    for part in torch.split(images, ROWS):
        rows.append(compute(as_inputs(part.to(device_of(model)))).cpu())
        if advance:
            advance(len(part))
    return torch.cat(rows)


def pixel_controls(train: ImageSet, test: ImageSet) -> dict[str, list[int]]:
    """What logistic regression and the nearest neighbour on raw pixels say of the test images.

    The strength of the regularisation is chosen by cross-validation on the training images alone.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, StratifiedKFold
        from sklearn.neighbors import KNeighborsClassifier
    except ImportError:
        raise MissingExtra("scikit-learn", "images", "The controls on raw pixels") from None
    inputs, outputs = [(_flat(part.pixels), part.labels.numpy()) for part in (train, test)], {}
    (seen, labels), (asked, _) = inputs
    regression: Any = LogisticRegression(max_iter=2_000)
    if int(train.labels.bincount().min()) >= 3:
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        regression = GridSearchCV(regression, {"C": [0.01, 0.1, 1.0, 10.0]}, cv=folds)
    for name, model in {"regression": regression, "neighbour": KNeighborsClassifier(1)}.items():
        outputs[name] = [int(label) for label in model.fit(seen, labels).predict(asked)]
    return outputs


def _flat(pixels: torch.Tensor) -> Any:
    """(images, numbers) float32 between 0 and 1."""
    size = min(CONTROL_SIZE, pixels.shape[-1])
    return (scaled(pixels, size, pixels.shape[1]).flatten(1).float() / 255).numpy()
