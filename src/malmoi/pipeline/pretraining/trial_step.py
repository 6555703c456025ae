"""One step of training on random tokens, to be timed or weighed: the place where a machine is measured."""

from __future__ import annotations

import torch

from malmoi.core.accelerator import pick_device, synchronize
from malmoi.data.batch import TextBatch
from malmoi.models.language_model import LanguageModel, LanguageModelConfig
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.train.optimizers import build_optimizers
from malmoi.train.precision import autocast, choose_precision
from malmoi.train.recompute import recomputing
from malmoi.train.settings import TrainerSettings


class TrialStep:
    """A new model with its optimizers, and rows of random tokens for it.

    Args:
        rows: of a micro-batch, each of `context` tokens.
        trainer: its precision and optimizer, and what is recomputed.
    """

    def __init__(self, config: LanguageModelConfig, context: int, rows: int, trainer: TrainerSettings) -> None:
        torch.manual_seed(0)
        self.device = pick_device()
        self.precision = choose_precision(self.device) if trainer.precision == "auto" else trainer.precision
        model = build_model(config, 0).train().to(self.device)
        assert isinstance(model, LanguageModel)
        self.model, self.trainer = model, trainer
        self._optimizers = build_optimizers(model, trainer)
        self._context, self._vocabulary = context, config.vocabulary
        self.take(rows)

    def take(self, rows: int) -> None:
        """From now on so many rows."""
        tokens = torch.randint(self._vocabulary, (rows, self._context))
        self.batch = TextBatch(tokens, tokens).to(self.device)

    def loss(self) -> torch.Tensor:
        """() float32, the sum over a micro-batch."""
        with autocast(self.device, self.precision):
            return Causal().loss(self.model, self.batch).total

    def micro_batch(self) -> None:
        """Forward and backward; done when it returns, as the rest."""
        with recomputing(self.model, self.trainer.recompute):
            self.loss().backward()  # type: ignore[no-untyped-call]
        synchronize(self.device)

    def update(self) -> None:
        """Change the weights, and forget the gradients."""
        with autocast(self.device, self.precision):
            for optimizer in self._optimizers:
                optimizer.step()
                optimizer.zero_grad()
        synchronize(self.device)
