"""Fine-tune a classifier on labelled texts, beside logistic regression on the same split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.accelerator import pick_device
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file, read_json_lines, write_json
from malmoi.data.batch import Answer
from malmoi.data.labelled import EncodedText, LabelledText, collate_labelled
from malmoi.data.rows import Rows
from malmoi.evaluate.answers import learned_answering
from malmoi.evaluate.predict import encode_texts, lower_states, predict
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.low_rank import merge_low_rank
from malmoi.models.classifier import Classifier, TextForm, UpperClassifier, new_classifier
from malmoi.models.initialize import initialize
from malmoi.models.model import Backbone, Pooling
from malmoi.models.trained_part import lowest_trained
from malmoi.objectives.consistency import Consistency
from malmoi.pipeline.costs import ASSUMED_TOKENS, UNKNOWN, Training, base_shape, token_estimate
from malmoi.pipeline.fine_tuning import FineTuningSettings
from malmoi.pipeline.labelled_texts import LabelledTextsSettings, read_splits
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.sources.fetch import fetch_weights
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.trainer import Trainer

TESTED = "tested.jsonl"

FIGURES: dict[Answer, tuple[str, ...]] = {
    "class": ("accuracy", "macro_f1"),
    "classes": ("micro_f1", "macro_f1"),
    "number": ("pearson", "spearman"),
}
"""What is printed of each kind of answer, the main figure first."""


class ClassifySettings(LabelledTextsSettings, FineTuningSettings):
    """Settings of the stage, beside those of its texts and of its training.

    Attributes:
        base: a stage or checkpoint to start from, a language model or an encoder; by default the public weights named
            in `weights`.
        weights: a card of public weights.
        from_scratch: new weights in the shape of the base, which show what its training is worth; its tokenizer stays.
        layers: use only this many of the base's layers, from below; 0 for all.
        pooling: "token" reads the class at one token, the last of a language model and the first of an encoder;
            "concat" also at the mean and the maximum over all tokens; "matches" reads the two texts of a pair apart
            and tells it by how well their words match. Only malmoi opens the last two.
        suffix: put after every text, for language models; the class is read at its last token.
        longest: longer texts, in tokens, are cut; the suffix counts.
        consistency: weight of reading every text twice with different dropout and answering the same (R-Drop), see
            `malmoi.objectives.consistency`; a step takes twice as long. 0 for one reading.
        control: units of the logistic regression beside it; characters for Korean.
    """

    base: StageInput | None = None
    weights: str = "smollm2-135m-instruct"
    from_scratch: bool = False
    layers: NonNegativeInt = 0
    train: str = "last:4"
    pooling: Pooling = "token"
    suffix: str = ""
    longest: PositiveInt = 128
    learning_rate: PositiveFloat = 3e-4
    consistency: NonNegativeFloat = 0.0
    control: Literal["word", "character"] = "word"


def run(settings: ClassifySettings, directory: Path) -> dict[str, Any]:
    """Write `model/`, `predictions.json` and `metrics.jsonl` into `directory`."""
    keep_freed_memory()
    splits = read_splits(settings)
    answers = learned_answering(settings.answer, splits)
    truth = answers.truth(splits.test)
    with console.status("control"):
        control = answers.score(truth, answers.control(splits.train, splits.test, settings.control))
    checkpoint = load_checkpoint(settings.base if settings.base is not None else fetch_weights(settings.weights))
    base, tokenizer = checkpoint.backbone, checkpoint.tokenizer
    if settings.from_scratch:
        initialize(base, settings.seed)
    classifier = _classifier(base, answers.classes, settings)
    first = settings.prepare(classifier.body)
    if settings.consistency:
        _check_consistency(settings, classifier.body, first)
    classifier.to(pick_device())
    encoded = [encode_texts(tokenizer, part, classifier) for part in (splits.train, splits.validation, splits.test)]
    model: Classifier | UpperClassifier = classifier
    if first:
        model = UpperClassifier(classifier, first)
        encoded = [_lower_states(classifier, part, first) for part in encoded]
    rows = Rows(encoded[0], encoded[1], _length, collate_labelled, settings.rows, seed=settings.seed)
    objective = Consistency(settings.consistency) if settings.consistency else answers.objective
    result = Trainer(model, objective, rows, settings.trainer(rows.steps(settings.epochs)), directory).run()
    predicted = answers.decide(_predict(model, encoded[2]))
    if settings.train.startswith("lora"):
        merge_low_rank(classifier)
    facts = {
        **answers.score(truth, predicted),
        "answer": settings.answer,
        "control": control,
        "control_unit": settings.control,
        "train": settings.train,
        "from_scratch": settings.from_scratch,
        "layers": len(classifier.body.blocks),
        "train_texts": len(splits.train),
        "validation_texts": len(splits.validation),
        "test_texts": len(splits.test),
        **({"majority": max(Counter(truth).values()) / len(truth)} if settings.answer == "class" else {}),
        "steps": result.steps,
        "training_seconds": round(result.seconds, 1),
        "validation_loss": result.validation_loss,
    }
    _write_tested(directory, splits.test)
    write_json(directory / "predictions.json", {"classes": answers.classes, "truth": truth, "predicted": predicted})
    save_checkpoint(directory / "model", classifier, tokenizer, _card(settings, facts))
    figures = [f"{name} {facts[name]:.3f}, by counting {control[name]:.3f}" for name in FIGURES[settings.answer]]
    console.print(f"  on {len(truth):,} texts {'; '.join(figures)}")
    return facts


def _write_tested(directory: Path, texts: Sequence[LabelledText]) -> None:
    """Keep what the classifier was tested on, so that what is made of it can be tested on the same."""
    with atomic_file(directory / TESTED) as file:
        file.writelines(json.dumps(asdict(text), ensure_ascii=False) + "\n" for text in texts)


def read_tested(directory: Path) -> list[LabelledText]:
    """The texts that a classifier's stage was tested on; none where the directory is no such stage."""
    path = directory / TESTED
    return [LabelledText(**record) for record in read_json_lines(path)] if path.is_file() else []


def _classifier(base: Backbone, classes: list[str], settings: ClassifySettings) -> Classifier:
    """The base with a new head.

    Raises:
        UserError: the base has fewer layers or less context than asked for, or reads no suffix.
    """
    if settings.layers:
        base.cut(settings.layers)
    context = base.config.context
    if settings.longest > context:
        raise UserError(f"longest={settings.longest}, but the base reads {context} tokens.", f"Set it to {context}.")
    if settings.suffix and not base.causal:
        raise UserError(
            "suffix is for language models, whose last token has seen all; an encoder is read at its first token.",
            "Leave suffix out.",
        )
    if settings.pair is not None and base.causal:
        raise UserError("pair is for encoders; a language model reads one text.", "Take weights=minilm-l6-v2.")
    form = TextForm(settings.longest, settings.suffix, settings.pair is not None)
    return new_classifier(base, classes, settings.seed, form, settings.pooling, settings.answer)


def _check_consistency(settings: ClassifySettings, body: Backbone, first: int) -> None:
    """Refuse two readings that cannot be compared, or cannot differ.

    Args:
        first: number of the lowest block that is trained.

    Raises:
        UserError: the answer is not one class, or nothing that is trained has dropout.
    """
    if settings.answer != "class":
        raise UserError("consistency compares the probabilities of classes.", "Leave it out, or set answer=class.")
    if first == len(body.blocks) or not getattr(body.config, "dropout", 0.0):
        raise UserError(
            "consistency compares readings with different dropout, and what is trained here has none.",
            "Leave it out, or set dropout=0.1 train=all.",
        )


def _lower_states(classifier: Classifier, texts: Sequence[EncodedText], first: int) -> list[EncodedText]:
    with progress("frozen layers", len(texts)) as advance:
        return lower_states(classifier, texts, first, advance)


def _predict(model: Classifier | UpperClassifier, texts: Sequence[EncodedText]) -> torch.Tensor:
    with progress("testing", len(texts)) as advance:
        return predict(model, texts, advance)


def _length(text: EncodedText) -> int:
    return len(text.tokens)


def _card(settings: ClassifySettings, facts: dict[str, Any]) -> str:
    base = settings.base.name if settings.base is not None else settings.weights
    data = settings.file.name if settings.file is not None else settings.source
    figure = FIGURES[settings.answer][0]
    answers = f"Classes: {', '.join(facts['classes'])}" if "classes" in facts else "It answers with a number"
    return (
        f"# A classifier {'in the shape of' if settings.from_scratch else 'fine-tuned from'} {base}\n\n"
        f"{answers}. Trained by malmoi on {facts['train_texts']:,} texts of {data} "
        f"({settings.train}, {facts['steps']} steps, seed {settings.seed}). On {facts['test_texts']:,} other texts "
        f"{figure} {facts[figure]:.3f}; by counting words or characters {facts['control'][figure]:.3f}.\n\n"
        f"A text is cut at {settings.longest} tokens"
        + (f", and {settings.suffix!r} is put behind it.\n" if settings.suffix else ".\n")
    )


def estimate(settings: ClassifySettings) -> Estimate:
    """Time and memory, from the texts when they are here and else from `limit`."""
    config = base_shape(settings.base, settings.weights)
    if config is None or not (settings.are_here or settings.limit):
        return UNKNOWN
    if settings.layers:
        config = config.model_copy(update={"layers": settings.layers})
    if settings.are_here:
        splits = read_splits(settings)
        learned, validation, test = (
            sum(token_estimate(text.whole + settings.suffix, settings.longest) for text in part)
            for part in (splits.train, splits.validation, splits.test)
        )
        scored = validation + test
    else:
        learned = settings.limit * ASSUMED_TOKENS
        scored = (settings.limit // 8 + (settings.test_limit or settings.limit // 4)) * ASSUMED_TOKENS
    readings = 2 if settings.consistency else 1
    training = Training(
        config=config,
        frozen=lowest_trained(settings.train, config.layers),
        learned=learned,
        scored=scored,
        epochs=settings.epochs * readings,
        batch=settings.rows * settings.longest * readings,
        adapters=settings.train.startswith("lora"),
    )
    assumed = "" if settings.are_here else ", if the texts are short"
    words = f"about {training.learned:,} tokens to learn from{assumed}"
    return Estimate(training.seconds(), training.memory(), (words,))


STAGE = Stage(ClassifySettings, run, estimate)
