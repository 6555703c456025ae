"""Fine-tune an encoder that finds the answer to a question in a passage, beside counting the question's words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from malmoi.core.console import console, progress
from malmoi.core.files import write_json
from malmoi.data.question_windows import QuestionForm, Windows, learning_windows
from malmoi.data.questions import Question, QuestionSplits
from malmoi.data.rows import Rows
from malmoi.data.span_batch import Window, collate_windows
from malmoi.evaluate.answer_overlap import Unit, answer_f1
from malmoi.evaluate.question_answers import Found, answer_figures, best_threshold, find_answers
from malmoi.evaluate.sliding_window import fit_sliding_window
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.models.model import Backbone
from malmoi.models.registry import count_parameters
from malmoi.models.span_finder import SpanFinder, new_span_finder
from malmoi.models.trained_part import lowest_trained
from malmoi.objectives.span import SpanExtraction
from malmoi.pipeline.asked_questions import AskedQuestionsSettings, read_splits
from malmoi.pipeline.costs import UNKNOWN, Training, token_estimate
from malmoi.pipeline.encoder_base import EncoderBaseSettings, encoder_base, encoder_shape
from malmoi.pipeline.fine_tuning import FineTuningSettings
from malmoi.pipeline.stage import Estimate, Stage
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.trainer import Trainer

ANSWERS = "answers.json"

SHOWN = 200
"""Test questions whose answers are kept to be read."""


class QuestionsSettings(AskedQuestionsSettings, EncoderBaseSettings, FineTuningSettings):
    """Settings of the stage, beside those of its questions, of its base and of its training.

    Attributes:
        marks: tell the model which words of the passage the question has too, and where they are close together.
        longest: tokens of a window, question and passage; a longer passage is read in several.
        stride: tokens by which the next window begins later.
        longest_answer: tokens.
        unit: what F1 counts: words as SQuAD does, or characters as KorQuAD does.
        rows: windows in a step.
        epochs: how often each window is seen.
        seed: of new weights, of made questions and of the order.
    """

    marks: bool = True
    longest: PositiveInt = 160
    stride: PositiveInt = 64
    longest_answer: PositiveInt = 24
    unit: Unit = "word"
    epochs: PositiveFloat = 4


def run(settings: QuestionsSettings, directory: Path) -> dict[str, Any]:
    """Write `model/`, `answers.json` and `metrics.jsonl` into `directory`."""
    keep_freed_memory()
    splits, made = read_splits(settings, settings.seed)
    texts = dict.fromkeys(text for question in splits.train for text in (question.passage, question.text))
    body, tokenizer = encoder_base(settings, texts, directory, settings.seed)
    finder = _finder(body, settings)
    windows = Windows(tokenizer, finder.form)
    learned = _learning_windows(windows, [*splits.train, *made])
    watched = _learning_windows(windows, splits.validation)
    rows = Rows(learned, watched, _length, collate_windows, settings.rows, seed=settings.seed)
    trainer = settings.trainer(rows.steps(settings.epochs), betas=(0.9, 0.999))
    result = Trainer(finder, SpanExtraction(), rows, trainer, directory).run()
    threshold = best_threshold(splits.validation, _find(finder, tokenizer, splits.validation), settings.unit)
    finder.form = QuestionForm(**{**vars(finder.form), "threshold": threshold})
    found = _find(finder, tokenizer, splits.test)
    with console.status("control"):
        control, by_counting = _control(splits, settings.unit)
    facts: dict[str, Any] = {
        **answer_figures(splits.test, found, threshold, settings.unit),
        "control": control,
        "unit": settings.unit,
        "threshold": threshold,
        "parameters": count_parameters(finder.body.config),
        "layers": len(finder.body.blocks),
        "train": settings.train,
        "marks": settings.marks,
        **{f"{name}_questions": len(part) for name, part in vars(splits).items()},
        "made_questions": len(made),
        "unanswerable": sum(not question.answers for question in splits.test),
        "windows": len(learned),
        "steps": result.steps,
        "training_seconds": round(result.seconds, 1),
        "validation_loss": result.validation_loss,
    }
    write_json(directory / ANSWERS, _records(splits.test, found, by_counting, threshold, settings.unit))
    save_checkpoint(directory / "model", finder, tokenizer, _card(settings, facts))
    console.print(
        f"  on {len(splits.test) - facts['unanswerable']:,} questions F1 {facts['f1']:.3f}, exact match "
        f"{facts['exact_match']:.3f}; by counting words {control['f1']:.3f} and {control['exact_match']:.3f}"
    )
    return facts


def _finder(body: Backbone, settings: QuestionsSettings) -> SpanFinder:
    """The base with a new head.

    Raises:
        UserError: the base is no encoder.
    """
    form = QuestionForm(settings.longest, settings.stride, settings.marks, settings.longest_answer)
    finder = new_span_finder(body, form, settings.seed)
    settings.prepare(finder.body)
    if settings.marks and finder.body.segments is not None:
        finder.body.segments.requires_grad_(True)  # kinds of words are new, whatever stays frozen
    return finder


def _learning_windows(windows: Windows, questions: Sequence[Question]) -> list[Window]:
    chosen = []
    with progress("questions", len(questions)) as advance:
        for number, question in enumerate(questions):
            chosen += learning_windows(windows.of(question), number)
            advance(1)
    return chosen


def _find(finder: SpanFinder, tokenizer: Tokenizer, questions: Sequence[Question]) -> list[Found]:
    with progress("answering", len(questions)) as advance:
        return find_answers(finder, tokenizer, questions, advance)


def _control(splits: QuestionSplits, unit: Unit) -> tuple[dict[str, float], list[Found]]:
    """What counting words answers, its settings and its threshold chosen on the same questions as the model's."""
    window = fit_sliding_window(splits.train, unit)
    threshold = best_threshold(splits.validation, [window.answer(one) for one in splits.validation], unit)
    found = [window.answer(question) for question in splits.test]
    return answer_figures(splits.test, found, threshold, unit), found


def _records(
    questions: Sequence[Question], found: Sequence[Found], counted: Sequence[Found], threshold: float, unit: Unit
) -> list[dict[str, Any]]:
    """Questions with their answers, spread over the test."""
    every = max(1, len(questions) // SHOWN)
    return [
        {
            "question": question.text,
            "passage": question.passage,
            "wanted": question.answer_texts,
            "answer": one.given(threshold),
            "span": [one.span.start, one.span.end],
            "score": one.score,
            "counted": other.text,
            "f1": answer_f1(one.given(threshold), question.answer_texts, unit),
        }
        for question, one, other in list(zip(questions, found, counted, strict=True))[::every]
    ]


def _length(window: Window) -> int:
    return len(window.tokens)


def _card(settings: QuestionsSettings, facts: dict[str, Any]) -> str:
    data = settings.file.name if settings.file is not None else settings.source
    control = facts["control"]
    marked = (
        "Segments tell which words of the passage the question has too (`malmoi.data.question_words`): "
        "who calls the model without malmoi has to give them.\n"
        if settings.marks
        else ""
    )
    return (
        f"# Answers in a passage, trained from {settings.base_name}\n\n"
        f"It finds the answer to a question in a passage. Trained by malmoi on {facts['train_questions']:,} questions "
        f"of {data} and {facts['made_questions']:,} made of their passages ({settings.train}, {facts['steps']} steps, "
        f"seed {settings.seed}). On questions about other passages F1 {facts['f1']:.3f} and exact match "
        f"{facts['exact_match']:.3f}, counted in {settings.unit}s; a sliding window over the question's words has "
        f"{control['f1']:.3f} and {control['exact_match']:.3f}.\n\n"
        f"Passages are read in windows of {settings.longest} tokens. An answer whose score is below "
        f"{facts['threshold']:.2f} is none.\n\n{marked}"
    )


def estimate(settings: QuestionsSettings) -> Estimate:
    """Time and memory, from the questions when they are here."""
    config = encoder_shape(settings)
    if config is None or not settings.are_here:
        return UNKNOWN
    splits, made = read_splits(settings, settings.seed)
    window = settings.longest
    learned = sum(token_estimate(one.passage + one.text, window) for one in [*splits.train, *made])
    scored = sum(token_estimate(one.passage + one.text, 1 << 20) for one in [*splits.validation, *splits.test])
    training = Training(
        config=config,
        frozen=lowest_trained(settings.train, config.layers),
        learned=learned,
        scored=scored,
        epochs=settings.epochs,
        batch=settings.rows * window,
        adapters=settings.train.startswith("lora"),
    )
    return Estimate(training.seconds(), training.memory(), (f"about {training.learned:,} tokens to learn from",))


STAGE = Stage(QuestionsSettings, run, estimate)
