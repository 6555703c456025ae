"""The settings of a pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from malmoi.core.config import Settings
from malmoi.core.errors import nearest
from malmoi.data.cuts import Row
from malmoi.models.registry import language_models
from malmoi.pipeline.stage import StageInput
from malmoi.train.settings import TrainerFields


class PretrainSettings(Settings):
    """Settings of the stage. What is None is derived; every derived number is printed and kept in `plan.json`.

    Attributes:
        corpus: text.
        tokenizer: a tokenizer stage.
        stores: directories with more tokens of the same tokenizer, such as the `tokens` of another run, or of a bucket
            that is mounted here; they are mapped where they are. A change of what is in them goes unnoticed.
        minutes: time for training, from which size and steps follow when they are not given; less where the size is not
            given either, and the text has been read as often as pays (`malmoi.pipeline.pretraining.dial`).
        steps: optimizer steps, instead of what fits into the minutes.
        tokens: tokens to train on, likewise.
        initial: a checkpoint to go on from, whose tokenizer must be the one given; new weights without it.
        family: of the model, such as lstm; an unknown one is answered with all there are. None for that of `initial`,
            or else gpt.
        model: `preset: NAME`, or fields of the family's configuration; the rest is derived.
        embedding_deviation: of the first token embeddings. Where the head is not tied and steps are large, 1 keeps what
            the blocks add from drowning the tokens (docs/lab/base-model.md).
        mixture: source -> share of the tokens; empty means what the corpus was mixed for, or as large as they are.
        most_epochs: how often the text of one source may be read; what it cannot give then, the others do.
        context: tokens in a row.
        row: "window" cuts the text into rows end to end; "document" begins a row with every document, cuts what does
            not fit, and suits texts that are short, or alike in shape.
        rows: rows in a micro-batch.
        memory: GiB that the process may take, or "available" for what nobody else has when the training begins: the
            largest micro-batch that fits is measured, and the rows of a step stay what they are.
        trainer: fields of `TrainerSettings`; the rest is derived.
        prompts: completed several times on the way, so that one sees the model learn.
        samples: how often, the first time before it learns; 0 for never.
        sample_tokens: how long a completion may be.
        seed: of weights and of the order of the data.
    """

    corpus: StageInput
    tokenizer: StageInput
    stores: tuple[Path, ...] = ()
    minutes: PositiveFloat = 5
    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    initial: StageInput | None = None
    family: str | None = None
    model: dict[str, Any] = {}
    embedding_deviation: PositiveFloat = 0.02
    mixture: dict[str, float] = {}
    most_epochs: PositiveFloat | None = None
    context: PositiveInt = 256
    row: Row = "window"
    rows: PositiveInt | None = None
    memory: PositiveFloat | Literal["available"] | None = None
    trainer: TrainerFields = {}
    prompts: list[str] = []
    samples: NonNegativeInt = 6
    sample_tokens: PositiveInt = 48
    seed: int = 0

    @field_validator("family")
    @classmethod
    def _check_family(cls, family: str | None) -> str | None:
        known = language_models()
        if family is not None and family not in known:
            raise ValueError(f"no family of language models. {nearest(family, known) or ''} Known: {', '.join(known)}")
        return family

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        if self.steps and self.tokens:
            raise ValueError("steps and tokens cannot both be given")
        if self.initial and self.model:
            raise ValueError("a model that goes on from a checkpoint has the checkpoint's shape; leave out model")
        return self
