"""Teach a smaller model what a larger one answers, beside the same model that has no teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from malmoi.compress.smaller import check_whole, keep_layers, spread
from malmoi.core.accelerator import device_of, pick_device
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import hash_path
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.models.headed import body_of
from malmoi.objectives.distillation import Distillation, Taught
from malmoi.objectives.kept_answers import KeptAnswers
from malmoi.parallel.layout import current_layout
from malmoi.pipeline.distil_settings import DistilSettings
from malmoi.pipeline.lesson import make_lesson
from malmoi.pipeline.stage import Stage
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

_STEP = 1 / 200
"""A learning rate as a share of the size of the teacher's numbers: a step of AdamW moves a number by the rate."""


def run(settings: DistilSettings, directory: Path) -> dict[str, Any]:
    """Write `model/` and `metrics.jsonl`, and those of the control into `control/`.

    Raises:
        UserError: teacher and student differ in their words or classes, there is no text to teach with, states are
            compared that several processes have parts of, or the answers that are kept are others.
    """
    layout = current_layout()
    if (settings.hidden or settings.attention) and layout.tensor * layout.pipeline > 1:
        raise UserError(
            f"hidden and attention compare whole blocks, and {layout} divides them.",
            "Set both to 0, or use data or shard in the layout.",
        )
    teacher = load_checkpoint(settings.teacher).to(pick_device())
    lesson = make_lesson(settings, teacher, directory)
    student, blocks = _student(settings, teacher)
    objective = Distillation(
        _taught(teacher),
        settings.temperature,
        settings.alpha,
        settings.hidden,
        blocks,
        settings.attention,
        _kept_answers(settings),
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
        f"  {lesson.name.replace('_', ' ')}: {shown}; {sizes['student'] / sizes['teacher']:.0%} of the numbers",
        markup=False,
    )
    return facts


def _kept_answers(settings: DistilSettings) -> KeptAnswers | None:
    """Where the teacher's answers are looked for, if they are to be kept.

    Raises:
        UserError: those that are there are another teacher's, or otherwise made; or several processes would keep them.
    """
    if settings.answers is None:
        return None
    if current_layout().processes > 1:
        raise UserError("One process keeps answers; here are several.", "Leave out answers, or parallel.")
    facts = {
        "teacher": hash_path(settings.teacher),
        "temperature": settings.temperature,
        "likeliest": settings.likeliest,
    }
    path = settings.answers / "teacher.json"
    if settings.answers.resolve().is_relative_to(settings.teacher.resolve()):
        raise UserError(f"{settings.answers} lies in the teacher's own folder.", "Name another folder.")
    if path.exists():
        there = read_json(path)
        if there != facts:
            known = there if isinstance(there, dict) else {}
            other = " and ".join(sorted(name for name, value in facts.items() if known.get(name) != value))
            raise UserError(f"{settings.answers} holds answers of another {other}.", "Name another folder.")
    elif settings.answers.is_dir() and any(settings.answers.iterdir()):
        raise UserError(f"{settings.answers} holds something else than answers.", "Name another folder.")
    write_json(path, facts)
    return KeptAnswers(settings.answers, settings.likeliest)


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
