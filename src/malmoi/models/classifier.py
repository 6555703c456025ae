"""A language model's body with a head of classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from malmoi.models.gpt import GPT
from malmoi.models.initialize import initialize


@dataclass(frozen=True)
class TextForm:
    """How a text is put before a classifier, the same when it learns and when it is asked.

    Attributes:
        longest: tokens, the suffix among them; a longer text is cut. 0 for as many as the context has.
        suffix: stands behind every text; the class is read at its last token.
    """

    longest: int = 0
    suffix: str = ""


class Classifier(nn.Module):
    """Scores each class from the hidden state of the last real token, the only one that has seen the whole text.

    Attributes:
        body: gives the hidden states; its own head is not used.
        classes: their names, in the order of the scores.
        form: what its texts look like.
    """

    def __init__(self, body: GPT, classes: list[str], seed: int = 0, form: TextForm | None = None) -> None:
        super().__init__()
        self.body = body
        self.classes = classes
        self.form = form or TextForm()
        self.score = nn.Linear(body.config.width, len(classes), bias=False)
        initialize(self.score, seed, prefix="score")

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities of the classes.

        Args:
            tokens: (rows, length) int64, padded on the right; the padding is never looked at.
            lengths: (rows,) int64, the number of real tokens, at least 1.

        Returns:
            (rows, classes) in the model's dtype.
        """
        return self._score_last(self.body(tokens), lengths)

    def from_hidden(self, hidden: torch.Tensor, lengths: torch.Tensor, first: int) -> torch.Tensor:
        """The same from the hidden states that block number `first` gets, (rows, length, width)."""
        return self._score_last(self.body.norm(self.body.through(hidden, first=first)), lengths)

    def _score_last(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        result: torch.Tensor = self.score(last)
        return result


class UpperClassifier(nn.Module):
    """The blocks of a classifier from number `first` on, fed with stored hidden states.

    Where the blocks below are frozen their outputs never change: computed once, they save most of every epoch.
    """

    def __init__(self, classifier: Classifier, first: int) -> None:
        super().__init__()
        self.classifier, self.first = classifier, first

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(rows, length, width) and (rows,) to (rows, classes); see `Classifier.from_hidden`."""
        return self.classifier.from_hidden(hidden, lengths, self.first)
