"""Settings of the stage `distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from malmoi.pipeline.labelled_texts import LabelledTextsSettings
from malmoi.pipeline.stage import StageInput


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
            begins with its layers; 40 suits SmolLM2. 0 for none.
        attention: weight of looking where the teacher looks, block by block; it wants as many heads. 0 for none.
        answers: a folder where the teacher's answers are kept, so that it is asked once for each batch, also when other
            students or rates learn from it. Nothing is kept without it.
        likeliest: how many tokens or classes of an answer are told apart there; the others count as one.
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
    answers: Path | None = None
    likeliest: PositiveInt = 32
    steps: PositiveInt = 300
    rows: PositiveInt = 16
    learning_rate: PositiveFloat | None = None
    control: bool = True
    seed: int = 0
