"""Fine-tune a classifier on labelled texts, beside logistic regression on the same split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.data.labelled import (
    EncodedText,
    LabelledText,
    Splits,
    SplitSettings,
    TableSettings,
    class_names,
    collate_labelled,
    read_labelled,
    split_labelled,
)
from malmoi.data.rows import Rows
from malmoi.evaluate.classification import logistic_regression, score_classes
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.low_rank import apply_low_rank, merge_low_rank
from malmoi.models.classifier import Classifier, TextForm, UpperClassifier
from malmoi.models.gpt import GPT
from malmoi.objectives.classification import Classification
from malmoi.pipeline.costs import ASSUMED_TOKENS, UNKNOWN, Training, base_shape, token_estimate
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files
from malmoi.sources.fetch import fetch_source
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.trainer import Trainer, TrainerSettings


class ClassifySettings(TableSettings, SplitSettings):
    """Settings of the stage.

    Attributes:
        base: a stage or checkpoint to start from; by default the public weights named in `weights`.
        weights: a card of public weights.
        layers: use only this many of the base's layers, from below; 0 for all.
        fetch: a fetch stage that has the texts of `source`.
        source: a card of labelled texts.
        file: your own file of labelled texts, instead of `fetch` and `source`.
        test_file: name of a file of the same source that is the test set, instead of a share; texts that stand in it
            are not learned from.
        limit, test_limit: most texts to learn from and to be tested on; 0 for all.
        train: "head" trains the new head, "last:N" the last N layers too, "lora:R" low-rank differences, "all" all.
        suffix: put after every text; the class is read at its last token.
        longest: longer texts, in tokens, are cut; the suffix counts.
        rows: texts in a step.
        epochs: how often each text is seen.
        optimizer: "adamw", or "muon" for the matrices of the layers, which suits a small base with many texts.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        control: units of the logistic regression beside it; characters for Korean.
        seed: of the new head and of the order.
    """

    base: StageInput | None = None
    weights: str = "smollm2-135m-instruct"
    layers: NonNegativeInt = 0
    fetch: StageInput | None = None
    source: str = "movie-snippets"
    file: StageInput | None = None
    test_file: str | None = None
    limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0
    train: str = "last:4"
    suffix: str = ""
    longest: PositiveInt = 128
    rows: PositiveInt = 16
    epochs: PositiveFloat = 2
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveFloat = 3e-4
    weight_decay: NonNegativeFloat = 0.01
    control: Literal["word", "character"] = "word"
    seed: int = 0


def run(settings: ClassifySettings, directory: Path) -> dict[str, Any]:
    """Write `model/`, `predictions.json` and `metrics.jsonl` into `directory`."""
    keep_freed_memory()
    splits = _read_splits(settings)
    classes = class_names(splits)
    truth = [classes.index(text.label) for text in splits.test]
    control = score_classes(classes, truth, _control(splits, classes, settings))
    checkpoint = load_checkpoint(settings.base if settings.base is not None else fetch_source(settings.weights)[0])
    form = TextForm(settings.longest, settings.suffix)
    body = _cut(checkpoint.language_model, settings.layers)
    classifier = Classifier(body, classes, settings.seed, form)
    first = _freeze(body, settings)
    tokenizer = checkpoint.tokenizer
    encoded = [_encode(tokenizer, part, classifier) for part in (splits.train, splits.validation, splits.test)]
    model: torch.nn.Module = classifier
    if first:
        model = UpperClassifier(classifier, first)
        encoded = [_lower_states(body, part, first) for part in encoded]
    rows = Rows(encoded[0], encoded[1], _length, collate_labelled, settings.rows, seed=settings.seed)
    steps = rows.steps(settings.epochs)
    trainer = TrainerSettings(
        steps=steps,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warm_up=max(1, steps // 10),
        cool_down=0.9,
        validate_every=max(1, steps // 6),
        checkpoint_every=max(1, steps // 4),
        keep_best=False,
        seed=settings.seed,
    )
    result = Trainer(model, Classification(), rows, trainer, directory).run()
    predicted = _predict(model, encoded[2])
    score = score_classes(classes, truth, predicted)
    if settings.train.startswith("lora"):
        merge_low_rank(classifier)
    facts = {
        **score.as_json(),
        "control": control.as_json(),
        "control_unit": settings.control,
        "train": settings.train,
        "layers": len(body.blocks),
        "train_texts": len(splits.train),
        "validation_texts": len(splits.validation),
        "test_texts": len(splits.test),
        "majority": max(truth.count(number) for number in range(len(classes))) / len(truth),
        "steps": result.steps,
        "training_seconds": round(result.seconds, 1),
        "validation_loss": result.validation_loss,
    }
    write_json(directory / "predictions.json", {"classes": classes, "truth": truth, "predicted": predicted})
    save_checkpoint(directory / "model", classifier, tokenizer, _card(settings, facts))
    console.print(
        f"  accuracy {score.accuracy:.1%} on {len(truth):,} texts; logistic regression {control.accuracy:.1%}, "
        f"always the most frequent class {facts['majority']:.1%}"
    )
    return facts


def _read_splits(settings: ClassifySettings) -> Splits:
    if settings.file is not None:
        paths = [settings.file]
    elif settings.fetch is not None:
        paths = manifest_files(settings.fetch, settings.source)
    else:
        paths = fetch_source(settings.source)
    test_paths = [path for path in paths if path.name == settings.test_file]
    texts = [text for path in paths if path not in test_paths for text in read_labelled(path, settings)]
    if settings.test_file is None:
        splits = split_labelled(texts, settings)
    elif not test_paths:
        raise UserError(f"There is no file {settings.test_file!r} among {[path.name for path in paths]}.")
    else:
        parts = split_labelled(texts, settings.model_copy(update={"test": 0.0}))
        splits = Splits(parts.train, parts.validation, read_labelled(test_paths[0], settings)).without_tested()
    validation = settings.limit // 8 if settings.limit else len(splits.validation)
    return Splits(
        splits.train[: settings.limit or None],
        splits.validation[: max(1, validation)],
        splits.test[: settings.test_limit or None],
    )


def _cut(body: GPT, layers: int) -> GPT:
    """The body with its lowest layers only: the upper ones of a language model serve the next token."""
    if layers > len(body.blocks):
        raise UserError(f"The base has {len(body.blocks)} layers, not {layers}.", "Set layers to 0 for all.")
    if not layers or layers == len(body.blocks):
        return body
    del body.blocks[layers:]
    body.config = body.config.model_copy(update={"layers": layers})
    return body


def _freeze(body: GPT, settings: ClassifySettings) -> int:
    """Leave trainable what `train` says; returns the number of the lowest block that is."""
    kind, _, number = settings.train.partition(":")
    first = _first_trained(settings.train, len(body.blocks))
    if kind == "lora":
        apply_low_rank(body, int(number), 2.0 * int(number), seed=settings.seed)
    elif kind != "all":
        body.requires_grad_(False)
        for part in (*body.blocks[first:], body.norm):
            part.requires_grad_(True)
    return first


def _first_trained(train: str, layers: int) -> int:
    """Number of the lowest block that `train` changes."""
    kind, _, number = train.partition(":")
    if train == "all" or (kind == "lora" and number.isdigit() and int(number)):
        return 0
    if train == "head" or (kind == "last" and number.isdigit() and 0 < int(number) <= layers):
        return layers - int(number or 0)
    raise UserError(f"train={train!r} is not known.", "Write head, last:N with N layers at most, lora:R or all.")


def _encode(tokenizer: Tokenizer, texts: Sequence[LabelledText], classifier: Classifier) -> list[EncodedText]:
    tokens = encode_texts(tokenizer, [text.text for text in texts], classifier)
    return [EncodedText(row, classifier.classes.index(text.label)) for row, text in zip(tokens, texts, strict=True)]


@torch.no_grad()
def _lower_states(body: GPT, texts: Sequence[EncodedText], first: int) -> list[EncodedText]:
    """The hidden states that the first trained block gets; the frozen blocks below never change them."""
    order = sorted(range(len(texts)), key=lambda index: _length(texts[index]))
    found: dict[int, EncodedText] = {}
    body.eval()
    with progress("frozen layers", len(texts)) as advance:
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            batch = collate_labelled([texts[index] for index in chosen])
            hidden = body.through(body.embed(batch.tokens), end=first)
            for row, index in enumerate(chosen):
                states = hidden[row, : batch.lengths[row]].clone()
                found[index] = EncodedText(states, texts[index].label)
            advance(len(chosen))
    return [found[index] for index in range(len(texts))]


def _predict(model: torch.nn.Module, texts: Sequence[EncodedText]) -> list[int]:
    with progress("testing", len(texts)) as advance:
        numbers: list[int] = predict(model, [text.tokens for text in texts], advance).argmax(-1).tolist()
    return numbers


def _length(text: EncodedText) -> int:
    return len(text.tokens)


def _control(splits: Splits, classes: list[str], settings: ClassifySettings) -> list[int]:
    with console.status("logistic regression"):
        return logistic_regression(
            [text.text for text in splits.train],
            [classes.index(text.label) for text in splits.train],
            [text.text for text in splits.test],
            settings.control,
        )


def _card(settings: ClassifySettings, facts: dict[str, Any]) -> str:
    base = settings.base.name if settings.base is not None else settings.weights
    data = settings.file.name if settings.file is not None else settings.source
    return (
        f"# A classifier fine-tuned from {base}\n\n"
        f"Classes: {', '.join(facts['classes'])}. Trained by malmoi on {facts['train_texts']:,} texts of {data} "
        f"({settings.train}, {facts['steps']} steps, seed {settings.seed}). Accuracy {facts['accuracy']:.1%} on "
        f"{facts['test_texts']:,} other texts; logistic regression on the same {facts['control']['accuracy']:.1%}.\n\n"
        f"A text is cut at {settings.longest} tokens"
        + (f", and {settings.suffix!r} is put behind it.\n" if settings.suffix else ".\n")
    )


def estimate(settings: ClassifySettings) -> Estimate:
    """Time and memory, from the texts when they are here and else from `limit`."""
    config = base_shape(settings.base, settings.weights)
    here = settings.file or (settings.fetch and (settings.fetch / MANIFEST).is_file())
    if config is None or not (here or settings.limit):
        return UNKNOWN
    if settings.layers:
        config = config.model_copy(update={"layers": settings.layers})
    if here:
        splits = _read_splits(settings)
        learned, validation, test = (
            sum(token_estimate(text.text + settings.suffix, settings.longest) for text in part)
            for part in (splits.train, splits.validation, splits.test)
        )
        scored = validation + test
    else:
        learned = settings.limit * ASSUMED_TOKENS
        scored = (settings.limit // 8 + (settings.test_limit or settings.limit // 4)) * ASSUMED_TOKENS
    training = Training(
        config=config,
        frozen=_first_trained(settings.train, config.layers),
        learned=learned,
        scored=scored,
        epochs=settings.epochs,
        batch=settings.rows * settings.longest,
        adapters=settings.train.startswith("lora"),
    )
    words = f"about {training.learned:,} tokens to learn from" + ("" if here else ", if the texts are short")
    return Estimate(training.seconds(), training.memory(), (words,))


STAGE = Stage(ClassifySettings, run, estimate)
