"""A short training after a compression, in which what can still learn makes up for what was lost."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.config import Settings
from malmoi.layers.matrices.learning import codes_learn
from malmoi.models.language_model import LanguageModel
from malmoi.objectives.causal import Causal
from malmoi.pipeline.corpus_tokens import corpus_rows
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

_CONTEXT = 256
"""Most tokens of a row."""


class RecoverySettings(Settings):
    """How long and how a compressed model is trained on.

    Attributes:
        recover_steps: optimizer steps after the last method; 0 for none. Zeros stay zero, codes stay as they are, and
            everything else learns.
        recover_codes: codes learn too: the model computes with rounded numbers, and those behind them change.
        recover_rows: rows of text in a step.
        recover_learning_rate: of AdamW at first; it falls to nothing.
        control: the original is trained for the same steps on the same rows beside it, so that one sees what the
            compression costs, and not what the steps give.
    """

    recover_steps: NonNegativeInt = 0
    recover_codes: bool = False
    recover_rows: PositiveInt = 16
    recover_learning_rate: PositiveFloat = 1e-3
    control: bool = False


def recover(
    model: LanguageModel, tokenizer: Tokenizer, corpus: Path, settings: RecoverySettings, directory: Path
) -> dict[str, Any]:
    """Train `model` on a corpus stage's text, in place, and go on where a killed training stopped.

    Args:
        directory: gets `metrics.jsonl`, the tokens and the saved states.

    Returns:
        the steps, tokens and seconds, and the loss a held-out token costs afterwards, in nats.

    Raises:
        UserError: the corpus holds nothing out or has too little text, or there are no codes that are to learn.
    """
    context = min(_CONTEXT, model.config.context)
    source = corpus_rows(corpus, tokenizer, directory, context, settings.recover_rows)
    with codes_learn(model) if settings.recover_codes else nullcontext():
        result = Trainer(model, Causal(), source, trainer_settings(settings), directory).run()
    return {
        "steps": result.steps,
        "tokens": result.items,
        "seconds": round(result.seconds, 1),
        "held_out_loss": result.validation_loss,
    }


def trainer_settings(settings: RecoverySettings) -> TrainerSettings:
    """AdamW with a rate that falls from the first steps to the last."""
    steps = settings.recover_steps
    return TrainerSettings(
        steps=steps,
        optimizer="adamw",
        learning_rate=settings.recover_learning_rate,
        warm_up=max(1, steps // 20),
        cool_down=0.9,
    )
