"""Train an encoder that gives every word a label, or every character of a text without blanks its place in a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat

from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.data.labelled import LabelledText, Splits, SplitSettings, split_labelled
from malmoi.data.parts import PartSettings
from malmoi.data.rows import Rows
from malmoi.data.token_labels import (
    LabelledTokens,
    LabelledWords,
    collate_labelled_tokens,
    encode_labelled_words,
    label_names,
    read_labelled_words,
    spacing,
)
from malmoi.evaluate.word_labels import counted_labels, label_words, score_labels
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.models.registry import count_parameters
from malmoi.models.token_labeller import TokenLabeller, WordForm
from malmoi.models.trained_part import lowest_trained
from malmoi.objectives.token_labels import TokenLabels
from malmoi.pipeline.costs import UNKNOWN, Training, token_estimate
from malmoi.pipeline.encoder_base import EncoderBaseSettings, encoder_base, encoder_shape
from malmoi.pipeline.fine_tuning import FineTuningSettings
from malmoi.pipeline.labelled_texts import LabelledTextsSettings, read_splits
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.tokenizers.train import TokenizerSettings
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.trainer import Trainer

LABELLED = "labelled.json"

SHOWN = 100
"""Test texts whose labels are kept to be read."""


class LabelWordsSettings(PartSettings, EncoderBaseSettings, FineTuningSettings):
    """Settings of the stage, beside the shares of its parts and those of its base and of its training.

    Attributes:
        file: your own file: a word and its label a line and a blank line between texts, as CoNLL's; with `spacing` a
            table of texts.
        spacing: learn where the blanks of a text belong when it comes without any: every text is an example. A new
            encoder then reads characters, and `vocabulary` counts those.
        fetch: a fetch stage that has the texts of `source`.
        source: a card of texts for `spacing`, instead of a file.
        test_file: the test set of `spacing`, instead of a share: name of a file of the same source, or beside `file`
            the path of one of your own.
        text: column of the texts, by name, or by number from 0 where the table has no header.
        limit, test_limit: most texts of a source to learn from and to be tested on; 0 for all.
        epochs: how often each text is seen.
    """

    file: StageInput | None = None
    spacing: bool = False
    fetch: StageInput | None = None
    source: str = ""
    test_file: str | None = None
    text: str | int = "text"
    limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0
    epochs: PositiveFloat = 4

    @property
    def texts(self) -> LabelledTextsSettings:
        """How the texts for `spacing` are read: as labelled ones whose labels are not looked at."""
        shared = self.model_dump(include=set(LabelledTextsSettings.model_fields) & set(LabelWordsSettings.model_fields))
        return LabelledTextsSettings(label=self.text, **shared)

    @property
    def named_files(self) -> list[Path]:
        """See `Settings.named_files`."""
        return self.texts.named_files if self.spacing else []

    @property
    def new_tokenizer(self) -> TokenizerSettings:
        """See `EncoderBaseSettings`."""
        own = TokenizerSettings(kind="character", vocabulary=self.vocabulary)
        return own if self.spacing else super().new_tokenizer


def run(settings: LabelWordsSettings, directory: Path) -> dict[str, Any]:
    """Write `model/`, `labelled.json` and `metrics.jsonl` into `directory`."""
    keep_freed_memory()
    train, validation, test = _read(settings)
    classes = label_names(train)
    joined = [("" if settings.spacing else " ").join(text.words) for text in train]
    body, tokenizer = encoder_base(settings, joined, directory, settings.seed)
    labeller = TokenLabeller(body, classes, settings.seed, WordForm(settings.longest, settings.spacing))
    settings.prepare(labeller.body)
    learned, watched = (
        [text for text in encode_labelled_words(tokenizer, part, classes, settings.longest) if len(text.tokens)]
        for part in (train, validation)
    )
    rows = Rows(learned, watched, _length, collate_labelled_tokens, settings.rows, seed=settings.seed)
    trainer = settings.trainer(rows.steps(settings.epochs), betas=(0.9, 0.999))
    result = Trainer(labeller, TokenLabels(), rows, trainer, directory).run()
    words = [text.words for text in test]
    with progress("testing", len(test)) as advance:
        given = label_words(labeller, tokenizer, words, advance)
    counted = counted_labels(train, words)
    score, control = score_labels(classes, test, given), score_labels(classes, test, counted)
    facts: dict[str, Any] = {
        **score.as_json(),
        "control": control.as_json(),
        "control_unit": "neighbours",
        "parameters": count_parameters(labeller.body.config),
        "layers": len(labeller.body.blocks),
        "train": settings.train,
        "train_texts": len(train),
        "validation_texts": len(validation),
        "test_texts": len(test),
        "test_words": int(score.confusion.sum()),
        "unread_words": sum(not label for labels in given for label in labels),
        "steps": result.steps,
        "training_seconds": round(result.seconds, 1),
        "validation_loss": result.validation_loss,
    }
    write_json(directory / LABELLED, _records(test, given, counted))
    save_checkpoint(directory / "model", labeller, tokenizer, _card(settings, facts))
    console.print(
        f"  on {facts['test_words']:,} words accuracy {score.accuracy:.3f}, macro F1 {score.macro_f1:.3f}; by counting "
        f"{control.accuracy:.3f} and {control.macro_f1:.3f}"
    )
    return facts


def _read(settings: LabelWordsSettings) -> tuple[list[LabelledWords], list[LabelledWords], list[LabelledWords]]:
    """Texts to learn from, to watch and to test on.

    Raises:
        UserError: no file is named, nor a source with spacing; and as `read_splits` and `read_labelled_words`.
    """
    if settings.spacing and (settings.file is not None or settings.source):
        return _parts(read_splits(settings.texts), lambda text: spacing(text.text))
    if settings.file is None:
        raise UserError(
            "There is no file of words with their labels.", "Name one by file; with spacing=true, a source."
        )
    labelled = [
        LabelledText(" ".join(text.words), " ".join(text.labels)) for text in read_labelled_words(settings.file)
    ]
    return _parts(
        split_labelled(labelled, SplitSettings(**settings.model_dump(include=set(PartSettings.model_fields)))), _words
    )


def _parts(
    splits: Splits, words: Callable[[LabelledText], LabelledWords]
) -> tuple[list[LabelledWords], list[LabelledWords], list[LabelledWords]]:
    """Those of the texts that have words.

    Raises:
        UserError: there is nothing to learn from or to test on.
    """
    learned, watched, tested = (
        [made for made in map(words, part) if made.words] for part in (splits.train, splits.validation, splits.test)
    )
    if not learned or not tested:
        raise UserError("There are no texts to learn from, or none to test on.", "Add texts, or change the shares.")
    return learned, watched, tested


def _words(text: LabelledText) -> LabelledWords:
    return LabelledWords(tuple(text.text.split(" ")), tuple(text.label.split(" ")))


def _tokens(text: LabelledWords, settings: LabelWordsSettings) -> int:
    """About how many tokens of a text are read."""
    longest = settings.longest
    return min(len(text.words), longest) if settings.spacing else token_estimate(" ".join(text.words), longest)


def _length(text: LabelledTokens) -> int:
    return len(text.tokens)


def _records(
    texts: Sequence[LabelledWords], given: Sequence[Sequence[str]], counted: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """Some test texts with their labels, spread over the test."""
    every = max(1, len(texts) // SHOWN)
    return [
        {"words": text.words, "labels": text.labels, "given": labels, "counted": others}
        for text, labels, others in list(zip(texts, given, counted, strict=True))[::every]
    ]


def _card(settings: LabelWordsSettings, facts: dict[str, Any]) -> str:
    what = "where the blanks of a text belong" if settings.spacing else "a label for every word"
    data = settings.file.name if settings.file is not None else settings.source
    control = facts["control"]
    return (
        f"# Words labelled, trained from {settings.base_name}\n\n"
        f"It tells {what}. Classes: {', '.join(facts['classes'])}. Trained by malmoi on {facts['train_texts']:,} texts "
        f"of {data} ({settings.train}, {facts['steps']} steps, seed {settings.seed}). On {facts['test_words']:,} words "
        f"of other texts accuracy {facts['accuracy']:.3f} and macro F1 {facts['macro_f1']:.3f}; the label that a word "
        f"before the same next one has most often: {control['accuracy']:.3f} and {control['macro_f1']:.3f}.\n\n"
        f"Of a text {settings.longest} tokens are read.\n"
    )


def estimate(settings: LabelWordsSettings) -> Estimate:
    """Time and memory, from the texts when they are here."""
    config = encoder_shape(settings)
    if config is None or not settings.texts.are_here:
        return UNKNOWN
    learned, watched, tested = (sum(_tokens(text, settings) for text in part) for part in _read(settings))
    training = Training(
        config=config,
        frozen=lowest_trained(settings.train, config.layers),
        learned=learned,
        scored=watched + tested,
        epochs=settings.epochs,
        batch=settings.rows * settings.longest,
        adapters=settings.train.startswith("lora"),
    )
    return Estimate(training.seconds(), training.memory(), (f"about {training.learned:,} tokens to learn from",))


STAGE = Stage(LabelWordsSettings, run, estimate)
