"""Hold a checkpoint in fewer numbers, and say beside the original what is left of it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import PositiveInt
from rich import box
from rich.table import Table

from malmoi.compress.calibration import Calibration
from malmoi.compress.corpus_text import CorpusText, common_language, read_corpus_text
from malmoi.compress.measure import bigram_bits_per_byte, bits_per_byte, costs, milliseconds, score
from malmoi.compress.registry import AnyStep, find_steps
from malmoi.core.console import console, progress, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import write_json
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from malmoi.formats.checkpoint_files import CARD
from malmoi.models.classifier import Classifier
from malmoi.models.headed import Headed
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Model
from malmoi.pipeline.recovery import RecoverySettings, recover
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.pipeline.stages.classify import FIGURES, read_tested
from malmoi.sources.fetch import fetch_weights

KIBIBYTE = 2**10
MODEL, ORIGINAL, COMPRESSED, CONTROL = "model", "original", "compressed", "control"
BITS = "bits_per_byte"


class CompressSettings(RecoverySettings):
    """Settings of the stage, beside those of the training after it.

    Attributes:
        checkpoint: the model; a stage that makes one or a checkpoint directory. By default the public weights named in
            `weights`.
        weights: a card of public weights.
        corpus: a corpus stage. Some methods read its text to see what flows into each layer; a language model is scored
            on what it holds out. A classifier is scored on the texts that its stage was tested on.
        recipe: a name, such as int8 or int4, or a YAML file with `steps`.
        steps: instead of a recipe, what is done one after the other: each a `method` with its settings.
        calibration_tokens: about how many tokens are read for the methods that look.
        held_out_kibibytes: about how much held-out text is scored, evenly from all of it.
    """

    checkpoint: StageInput | None = None
    weights: str = "smollm2-135m-instruct"
    corpus: StageInput | None = None
    recipe: str = "int8"
    steps: list[AnyStep] = []
    calibration_tokens: PositiveInt = 32_768
    held_out_kibibytes: PositiveInt = 128


def run(settings: CompressSettings, directory: Path) -> dict[str, Any]:
    """Write `model/` and `card.json`.

    Raises:
        UserError: a recipe, a method or a layer is not known, or a method needs text and no corpus is named.
    """
    steps = settings.steps or find_steps(settings.recipe)
    path = settings.checkpoint if settings.checkpoint is not None else fetch_weights(settings.weights)
    checkpoint = load_checkpoint(path)
    _check_recovery(settings, checkpoint)
    text, original = _text(settings, checkpoint), directory / ORIGINAL
    save_checkpoint(original, checkpoint.model, checkpoint.tokenizer, checkpoint.card)
    quality = Quality(path, text, checkpoint)
    if quality.uncompared:
        console.print(f"  Quality is not compared. {quality.uncompared}", markup=False)
    if quality.foreign:
        console.print(f"  [bold red]{verbatim(quality.foreign)}[/bold red]")
    rows = text.rows if text else []
    with progress("reading text", total=sum(map(len, rows)) or None) as advance:
        calibration = Calibration(rows, advance, heads=isinstance(checkpoint.model, LanguageModel))
        for step in steps:
            step.apply(_body(checkpoint.model), calibration)
    recovery = _recover(settings, checkpoint, directory)
    save_checkpoint(directory / MODEL, checkpoint.model, checkpoint.tokenizer, checkpoint.card)
    models = {ORIGINAL: asdict(costs(original)), COMPRESSED: asdict(costs(directory / MODEL))}
    opened = {ORIGINAL: load_checkpoint(original), COMPRESSED: load_checkpoint(directory / MODEL)}
    for name, times in milliseconds({name: one.model for name, one in opened.items()}).items():
        models[name]["milliseconds"] = times
    models[ORIGINAL]["quality"] = quality.before
    models[COMPRESSED]["quality"] = quality.of(opened[COMPRESSED])
    control = None
    if settings.control and settings.recover_steps:
        plain = settings.model_copy(update={"recover_codes": False})
        _recover(plain, opened[ORIGINAL], directory / CONTROL)
        control = quality.of(opened[ORIGINAL])
    facts = {
        "from": path.name,
        "steps": [step.model_dump() for step in steps],
        "recovery": recovery,
        "models": models,
        "figure": quality.figure,
        "control": control,
        "bigram": quality.bigram,
        "uncompared": quality.uncompared,
    }
    (directory / MODEL / CARD).write_text(_card(checkpoint.card, facts), encoding="utf-8")
    shutil.rmtree(original)
    write_json(directory / "card.json", facts)
    _print(facts)
    return facts


def _check_recovery(settings: CompressSettings, checkpoint: Checkpoint) -> None:
    """Refuse a training that cannot be, before anything is compressed."""
    if settings.recover_steps and settings.corpus is None:
        raise UserError("recover_steps trains on a corpus, and none is named.", "Add corpus=STAGE.")
    if settings.recover_codes and not settings.recover_steps:
        raise UserError("recover_codes is for a training after the compression.", "Set recover_steps.")
    if settings.recover_steps and not isinstance(checkpoint.model, LanguageModel):
        raise UserError(
            "recover_steps is for language models.",
            "A classifier is fine-tuned by its own stage: malmoi classify base=CHECKPOINT.",
        )


def _recover(settings: CompressSettings, checkpoint: Checkpoint, directory: Path) -> dict[str, Any] | None:
    """Train a model on, in place; what that came to."""
    if not settings.recover_steps:
        return None
    assert settings.corpus is not None  # _check_recovery has seen to it
    return recover(checkpoint.language_model, checkpoint.tokenizer, settings.corpus, settings, directory)


class Quality:
    """What is measured of both models: bits per byte of held-out text, or a figure of a classifier's answers.

    Attributes:
        figure: its name; empty where nothing can be compared.
        before: that of the original.
        bigram: bits per byte of a bigram model on the same text.
        uncompared: why nothing is compared.
        foreign: why the corpus is no text to calibrate a classifier with; empty where it may be.
    """

    figure = ""
    before: float | None = None
    bigram: float | None = None
    uncompared = foreign = ""

    def __init__(self, path: Path, text: CorpusText | None, checkpoint: Checkpoint) -> None:
        self._text, self._tested = text, read_tested(path)
        model = checkpoint.model
        if isinstance(model, Classifier) and self._tested:
            self.figure = FIGURES[model.answer][0]
            self.foreign = _foreign(text, [tested.text for tested in self._tested])
        elif isinstance(model, Classifier):
            self.uncompared = f"{path} keeps no labelled texts that it was tested on."
        elif not isinstance(model, LanguageModel):
            self.uncompared = "Only language models and classifiers are scored."
        elif text is None:
            self.uncompared = "No corpus is named, so there is no held-out text to score."
        else:
            self.figure = BITS
            self.bigram = bigram_bits_per_byte(text, model.config.vocabulary)
        self.before = self.of(checkpoint)
        if self.bigram is not None and self.before is not None and self.before >= self.bigram:
            self.uncompared = (
                f"The original needs {self.before:.3f} bits for a byte of this text and a bigram model "
                f"{self.bigram:.3f}: it has not learned such text, and what is no worse than it would prove nothing."
            )
            self.figure = ""

    def of(self, checkpoint: Checkpoint) -> float | None:
        """The figure of one model."""
        if self.figure == BITS:
            assert self._text is not None
            with console.status("scoring held-out text"):
                return bits_per_byte(checkpoint.language_model, self._text)
        if self.figure:
            with console.status("scoring labelled texts"):
                return score(checkpoint.headed(Classifier), checkpoint.tokenizer, self._tested, self.figure)
        return None


def _foreign(text: CorpusText | None, tested: list[str]) -> str:
    """What is wrong with a corpus in another language than the texts that a classifier was tested on."""
    if text is None or "unknown" in (own := common_language(tested), text.language) or own == text.language:
        return ""
    return (
        f"The corpus is in {text.language!r}, and the texts that the classifier was tested on are in {own!r}: what "
        "flows into its layers here is not what will. Name a corpus of such texts."
    )


def _text(settings: CompressSettings, checkpoint: Checkpoint) -> CorpusText | None:
    if settings.corpus is None:
        return None
    return read_corpus_text(
        settings.corpus,
        checkpoint.tokenizer,
        _body(checkpoint.model).config.context,
        settings.calibration_tokens,
        settings.held_out_kibibytes * KIBIBYTE,
    )


def _body(model: Model | Headed) -> Model:
    return model.body if isinstance(model, Headed) else model


def shown(facts: dict[str, Any]) -> dict[str, list[str]]:
    """The rows of the card in words: what is measured to the original's and the compressed model's figure."""
    models = list(facts["models"].values())
    rows = {
        "weights on disk": [f"{one['file_bytes'] / 1e6:,.1f} MB" for one in models],
        "peak memory": [f"{one['peak_memory'] / 1e6:,.0f} MB" for one in models],
    }
    for length in models[0]["milliseconds"]:
        rows[f"ms for {length} token{'s' * (int(length) > 1)}"] = [
            f"{one['milliseconds'][length]:.1f}" for one in models
        ]
    if facts["figure"]:
        name = facts["figure"].replace("_", " ")
        rows[name] = [f"{one['quality']:.4f}" for one in models]
    if facts["control"] is not None:
        rows[f"{name}, trained on as long"] = [f"{facts['control']:.4f}", ""]
    return rows


def _print(facts: dict[str, Any]) -> None:
    table = Table("", *facts["models"], box=box.SIMPLE_HEAD)
    for name, figures in shown(facts).items():
        table.add_row(name, *figures)
    console.print(table)


def _card(card: str, facts: dict[str, Any]) -> str:
    lines = [f"| {name} | {' | '.join(figures)} |" for name, figures in shown(facts).items()]
    table = "\n".join([f"| | {' | '.join(facts['models'])} |", "|---|---|---|", *lines])
    methods = ", ".join(step["method"] for step in facts["steps"])
    note = f"\n\nQuality is not compared. {facts['uncompared']}" if facts["uncompared"] else ""
    return f"{card.rstrip()}\n\n## Compressed\n\nBy malmoi: {methods}.\n\n{table}{note}\n"


STAGE = Stage(settings=CompressSettings, run=run)
