"""`malmoi predict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import options

if TYPE_CHECKING:
    from malmoi.models.classifier import Classifier
    from malmoi.models.token_labeller import TokenLabeller
    from malmoi.tokenizers.tokenizer import Tokenizer


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A classifier: a checkpoint or a stage's directory.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts, or files of images. Without any, every line of standard input is one."),
    ] = None,
) -> None:
    """Name the class of texts or images: a line each with the class, its probability and the text, between tabs.

    A blank line stays one. Several classes stand between |; a number stands alone before the text.

    Where pairs are asked about, a tab stands between the two. A classifier of images takes the paths of image files.
    What labels words writes a line of `word/label`, what was learned with spacing=true the text with its blanks.

    Example: malmoi predict runs/quickstart/classify 'A warm and clever film.'
    """
    from malmoi.formats.image_checkpoint import is_of_images

    lines = texts or options.read_standard_input().removesuffix("\n").split("\n")
    if chosen := [line for line in lines if line.strip()]:
        found = iter((_predict_images if is_of_images(checkpoint) else _predict_texts)(checkpoint, chosen))
        for line in lines:
            print(next(found) if line.strip() else "")


def _predict_texts(checkpoint: Path, chosen: list[str]) -> Iterable[str]:
    from malmoi.core.errors import UserError
    from malmoi.data.labelled import LabelledText
    from malmoi.evaluate.predict import encode_texts, predict
    from malmoi.models.classifier import Classifier
    from malmoi.models.token_labeller import TokenLabeller

    opened = options.open_checkpoint(checkpoint)
    if isinstance(opened.model, TokenLabeller):
        return _label_words(opened.model, opened.tokenizer, chosen)
    model = opened.headed(Classifier)
    asked = [LabelledText(text, "") for text in chosen]
    if model.form.pair:
        asked = [LabelledText(first, "", second) for first, _, second in (text.partition("\t") for text in chosen)]
    if lone := [text.text for text in asked if text.pair == ""]:
        raise UserError(f"This classifier is asked about pairs, and {lone[0]!r} is one text.", "Put a tab between two.")
    probabilities = predict(model, encode_texts(opened.tokenizer, asked, model))
    return (f"{_answer(model, row)}\t{text}" for text, row in zip(chosen, probabilities.tolist(), strict=True))


def _label_words(model: TokenLabeller, tokenizer: Tokenizer, chosen: list[str]) -> Iterator[str]:
    from malmoi.core.errors import UserError
    from malmoi.corpus.normalize import normalize
    from malmoi.evaluate.word_labels import label_words, spaced

    words = [normalize(text).split() for text in chosen]
    texts = ["".join(each) for each in words] if model.form.joined else words
    for text, labels in zip(texts, label_words(model, tokenizer, texts), strict=True):
        if not all(labels):
            raise UserError(f"A text of {len(labels):,} words is longer than it reads.", "Cut it into sentences.")
        named = (f"{word}/{label}" for word, label in zip(text, labels, strict=True))
        yield spaced(text, labels) if model.form.joined else " ".join(named)


def _predict_images(checkpoint: Path, chosen: list[str]) -> Iterable[str]:
    import torch

    from malmoi.core.accelerator import pick_device
    from malmoi.data.image_files import read_image
    from malmoi.evaluate.image_classes import image_probabilities
    from malmoi.formats.image_checkpoint import load_image_classifier

    classifier = load_image_classifier(checkpoint).to(pick_device())
    shape = classifier.body.config
    images = torch.stack([read_image(Path(path), shape.size, shape.channels) for path in chosen])
    probabilities = image_probabilities(classifier, images).tolist()
    return (f"{_likeliest(classifier.classes, row)}\t{path}" for path, row in zip(chosen, probabilities, strict=True))


def _answer(classifier: Classifier, row: list[float]) -> str:
    """The class and its probability, every class that is likelier than not with its own, or the number."""
    if classifier.answer == "number":
        return f"{row[0]:.3f}"
    if classifier.answer == "classes":
        named = [(name, chance) for name, chance in zip(classifier.classes, row, strict=True) if chance > 0.5]
        return f"{'|'.join(name for name, _ in named)}\t{'|'.join(f'{chance:.3f}' for _, chance in named)}"
    return _likeliest(classifier.classes, row)


def _likeliest(classes: list[str], row: list[float]) -> str:
    best = max(range(len(row)), key=row.__getitem__)
    return f"{classes[best]}\t{row[best]:.3f}"
