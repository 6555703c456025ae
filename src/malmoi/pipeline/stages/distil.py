"""Teach a smaller model what a larger one answers, beside the same model that has no teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from malmoi.compress.smaller import check_whole, keep_layers, spread
from malmoi.core.accelerator import device_of, pick_device
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.data.batch import BatchSource
from malmoi.data.labelled import EncodedText, collate_labelled
from malmoi.data.mixture import Mixture
from malmoi.data.rows import Rows
from malmoi.evaluate.answers import learned_answering
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from malmoi.generate.generator import evaluating
from malmoi.models.classifier import Classifier
from malmoi.models.headed import body_of
from malmoi.models.language_model import LanguageModel
from malmoi.objectives.causal import Causal
from malmoi.objectives.distillation import Distillation, Taught
from malmoi.parallel.layout import current_layout
from malmoi.pipeline.corpus_tokens import corpus_rows
from malmoi.pipeline.labelled_texts import LabelledTextsSettings, read_splits
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

_CONTEXT = 256
"""Most tokens of a row of a corpus."""

_STEP = 1 / 200
"""A learning rate as a share of the size of the teacher's numbers: a step of AdamW moves a number by the rate."""


class DistilSettings(LabelledTextsSettings):
    """Settings of the stage, beside those of the labelled texts that a classifier is taught with.

    Attributes:
        teacher: a stage or checkpoint of a language model or of a classifier.
        corpus: a corpus stage, to teach a language model with.
        student: a checkpoint to start from, such as one that `malmoi compress` made; by default the teacher with fewer
            layers.
        layers: how many of the teacher's layers the student begins with, from all its depth; by default half.
        temperature: flattens what both answer; what is unlikely is told apart then.
        alpha: 0 learns only what is right, 1 only what the teacher answers.
        hidden: weight of being like the teacher inside, block by block; it wants a student of the teacher's width that
            begins with its layers. 0 for none.
        attention: weight of looking where the teacher looks, block by block; it wants as many heads. 0 for none.
        steps: optimizer steps.
        rows: texts, or rows of a corpus, in a step.
        learning_rate: of AdamW at first; it falls to nothing. By default it fits the size of the teacher's numbers: a
            two-hundredth of the root mean square of its embedding.
        control: the same student is trained for the same steps without a teacher beside it.
        seed: of the order.
    """

    teacher: StageInput
    corpus: StageInput | None = None
    student: StageInput | None = None
    layers: PositiveInt | None = None
    temperature: PositiveFloat = 1.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.9
    hidden: NonNegativeFloat = 0.0
    attention: NonNegativeFloat = 0.0
    steps: PositiveInt = 300
    rows: PositiveInt = 16
    learning_rate: PositiveFloat | None = None
    control: bool = True
    seed: int = 0


def run(settings: DistilSettings, directory: Path) -> dict[str, Any]:
    """Write `model/` and `metrics.jsonl`, and those of the control into `control/`.

    Raises:
        UserError: teacher and student differ in their words or classes, there is no text to teach with, or states are
            compared that several processes have parts of.
    """
    layout = current_layout()
    if (settings.hidden or settings.attention) and layout.tensor * layout.pipeline > 1:
        raise UserError(
            f"hidden and attention compare whole blocks, and {layout} divides them.",
            "Set both to 0, or use data or shard in the layout.",
        )
    teacher = load_checkpoint(settings.teacher).to(pick_device())
    lesson = _lesson(settings, teacher, directory)
    student, blocks = _student(settings, teacher)
    objective = Distillation(
        _taught(teacher), settings.temperature, settings.alpha, settings.hidden, blocks, settings.attention
    )
    figures = {"teacher": lesson.figure(_taught(teacher))}
    training = _trainer(settings, settings.learning_rate or _fitting_rate(_taught(teacher)))
    sizes = {"teacher": _size(teacher), "student": _size(student)}
    trained = Trainer(_taught(student), objective, lesson.source, training, directory).run()
    figures["student"] = lesson.figure(_taught(student))
    if settings.control:
        alone, _ = _student(settings, teacher)
        plain = Distillation(_taught(teacher), alpha=0)
        Trainer(_taught(alone), plain, lesson.source, training, directory / "control").run()
        figures["control"] = lesson.figure(_taught(alone))
        save_checkpoint(directory / "control" / "model", alone.model, alone.tokenizer, _card(settings, "no teacher"))
    facts = {
        "figure": lesson.name,
        "figures": figures,
        "parameters": sizes,
        "share_of_gap_closed": _closed(figures),
        "layers": len(body_of(_taught(student)).blocks),
        "temperature": settings.temperature,
        "alpha": settings.alpha,
        "hidden": settings.hidden,
        "attention": settings.attention,
        "learning_rate": training.learning_rate,
        "steps": trained.steps,
        "training_seconds": round(trained.seconds, 1),
    }
    save_checkpoint(directory / "model", student.model, student.tokenizer, _card(settings, settings.teacher.name))
    shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    console.print(
        f"  {lesson.name.replace('_', ' ')}: {shown}; {sizes['student'] / sizes['teacher']:.0%} of the numbers"
    )
    return facts


@dataclass(frozen=True)
class _Text:
    """A corpus to teach a language model with; what is measured is the loss of a held-out token in nats."""

    source: Mixture
    name = "loss"

    def figure(self, model: Taught) -> float:
        """On all held-out text."""
        assert isinstance(model, LanguageModel)
        total, count = 0.0, 0
        with torch.inference_mode(), evaluating(model), console.status("scoring held-out text"):
            for batch in self.source.validation():
                loss = Causal().loss(model, batch.to(device_of(model)))
                total, count = total + float(loss.total), count + int(loss.count)
        return total / count


@dataclass(frozen=True)
class _Classes:
    """Labelled texts to teach a classifier with; what is measured is the accuracy on others."""

    source: BatchSource
    texts: Sequence[EncodedText]
    name = "accuracy"

    def figure(self, model: Taught) -> float:
        """On the texts of the test."""
        assert isinstance(model, Classifier)
        answers = predict(model, self.texts).argmax(-1)
        return float((answers == torch.tensor([text.label for text in self.texts])).float().mean())


def _lesson(settings: DistilSettings, teacher: Checkpoint, directory: Path) -> _Text | _Classes:
    """What is taught.

    Raises:
        UserError: there is no corpus for a language model, or the classes are others than the teacher's.
    """
    model = teacher.model
    if isinstance(model, LanguageModel):
        if settings.corpus is None:
            raise UserError("A language model is taught with a corpus, and none is named.", "Add corpus=STAGE.")
        context = min(_CONTEXT, model.config.context)
        return _Text(corpus_rows(settings.corpus, teacher.tokenizer, directory, context, settings.rows, settings.seed))
    if not isinstance(model, Classifier) or model.answer != "class":
        raise UserError(
            f"{settings.teacher} is no language model, and no classifier that names one class.", "Take one of these."
        )
    splits = read_splits(settings)
    classes = learned_answering("class", splits).classes
    if sorted(classes) != sorted(model.classes):
        raise UserError(
            f"The texts have the classes {', '.join(classes)}, and the teacher {', '.join(model.classes)}.",
            "Give the texts that the teacher has learned from, or such as have its classes.",
        )
    train, held_out, test = (
        encode_texts(teacher.tokenizer, part, model) for part in (splits.train, splits.validation, splits.test)
    )
    rows = Rows(train, held_out, _length, collate_labelled, settings.rows, seed=settings.seed)
    return _Classes(rows, test)


def _length(text: EncodedText) -> int:
    return len(text.tokens)


def _student(settings: DistilSettings, teacher: Checkpoint) -> tuple[Checkpoint, list[int]]:
    """The student before it learns, and for each of its blocks the teacher's that it begins as.

    Raises:
        UserError: it has other words or classes than the teacher, or another width or other heads where blocks are
            compared.
    """
    depth = len(body_of(_taught(teacher)).blocks)
    if settings.student is None:
        student = load_checkpoint(settings.teacher)
        body = body_of(_taught(student))
        check_whole(body)
        kept = spread(depth, settings.layers or max(1, depth // 2))
        keep_layers(body, kept)
        return student, kept
    student = load_checkpoint(settings.student)
    _check_alike(settings, teacher, student)
    if not (settings.hidden or settings.attention):
        return student, []
    return student, spread(depth, len(body_of(_taught(student)).blocks))


def _check_alike(settings: DistilSettings, teacher: Checkpoint, student: Checkpoint) -> None:
    if settings.layers is not None:
        raise UserError("layers is for a student made of the teacher, and one is given.", "Leave out layers.")
    if student.tokenizer.backend.get_vocab() != teacher.tokenizer.backend.get_vocab():
        raise UserError(
            f"{settings.student} reads other tokens than {settings.teacher}: what one says of a token means nothing to "
            "the other.",
            "Take a student with the teacher's tokenizer, or leave student out.",
        )
    own, theirs = _taught(student), _taught(teacher)
    if _classes(own) != _classes(theirs):
        raise UserError(
            f"{settings.student} answers {_classes(own) or 'with a text'}, and the teacher "
            f"{_classes(theirs) or 'with a text'}.",
            "Take a student of the teacher's kind.",
        )
    widths = [body_of(model).config.width for model in (own, theirs)]
    if settings.hidden and widths[0] != widths[1]:
        raise UserError(
            f"The student is {widths[0]} wide and the teacher {widths[1]}: their states cannot be compared.",
            "Set hidden=0.",
        )
    heads = [getattr(body_of(model).config, "heads", None) for model in (own, theirs)]
    if settings.attention and heads[0] != heads[1]:
        raise UserError(
            f"The student has {heads[0] or 'no'} heads and the teacher {heads[1] or 'none'}: where they look cannot be "
            "compared.",
            "Set attention=0.",
        )


def _classes(model: Taught) -> list[str]:
    return model.classes if isinstance(model, Classifier) else []


def _taught(checkpoint: Checkpoint) -> Taught:
    """The model, where it can teach or be taught.

    Raises:
        UserError: it is a translator.
    """
    return checkpoint.model if isinstance(checkpoint.model, Classifier) else checkpoint.backbone


def _size(checkpoint: Checkpoint) -> int:
    return sum(parameter.numel() for parameter in checkpoint.model.parameters())


def _closed(figures: dict[str, float]) -> float | None:
    """How much of the way from the control to the teacher the student goes; None where there is no way."""
    if "control" not in figures or figures["control"] == figures["teacher"]:
        return None
    return (figures["control"] - figures["student"]) / (figures["control"] - figures["teacher"])


def _fitting_rate(teacher: Taught) -> float:
    """See `DistilSettings.learning_rate`; of two digits."""
    body = body_of(teacher)
    every_token = torch.arange(body.config.vocabulary, device=device_of(body))
    with torch.no_grad():
        size = body.get_submodule("embedding")(every_token).float().square().mean().sqrt()
    return float(f"{_STEP * float(size):.2g}")


def _trainer(settings: DistilSettings, learning_rate: float) -> TrainerSettings:
    steps = settings.steps
    return TrainerSettings(
        steps=steps,
        optimizer="adamw",
        learning_rate=learning_rate,
        weight_decay=0.01,
        warm_up=max(1, steps // 20),
        cool_down=0.9,
        checkpoint_every=max(1, steps // 4),
        compile="never" if settings.attention else "auto",  # what is watched changes from step to step
        seed=settings.seed,
    )


def _card(settings: DistilSettings, teacher: str) -> str:
    return (
        f"# A student of {teacher}\n\nTaught by malmoi for {settings.steps:,} steps (temperature "
        f"{settings.temperature:g}, alpha {settings.alpha:g}, hidden {settings.hidden:g}, "
        f"attention {settings.attention:g}, seed {settings.seed}).\n"
    )


STAGE = Stage(DistilSettings, run)
