"""An encoder that gives every token a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.models.encoder import Encoder
from malmoi.models.headed import Headed
from malmoi.models.initialize import initialize
from malmoi.models.model import Backbone


@dataclass(frozen=True)
class WordForm:
    """How words are put before a labeller, the same when it learns and when it is asked.

    Attributes:
        longest: tokens of a text. 0 for as many as the context has.
        joined: the words are the characters of a text without blanks, and their labels say where blanks belong.
    """

    longest: int = 0
    joined: bool = False


class TokenLabeller(Headed):
    """Scores each class for every token, as BERT finds names (Devlin and others 2019, arXiv:1810.04805, section 5.3).

    Attributes:
        body: an encoder.
        classes: their names, in the order of the scores.
        form: what its texts look like.

    Raises:
        UserError: the body is no encoder.
    """

    body: Encoder

    def __init__(self, body: Backbone, classes: Sequence[str], seed: int = 0, form: WordForm | None = None) -> None:
        super().__init__()
        if not isinstance(body, Encoder):
            raise UserError(
                "Every word gets a label from a model that looks both ways, and this is a language model.",
                "Take an encoder, such as weights=minilm-l6-v2.",
            )
        self.body, self.classes, self.form = body, list(classes), form or WordForm()
        self.label = nn.Linear(body.config.width, len(self.classes))
        initialize(self.label, seed, prefix="label.score")

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities, (rows, length, classes) in the model's dtype.

        Args:
            tokens: (rows, length) int64, padded on the right; the padding is never looked at.
            lengths: (rows,) int64, the number of real tokens, at least 1.
        """
        scores: torch.Tensor = self.label(self.body(tokens, lengths))
        return scores
