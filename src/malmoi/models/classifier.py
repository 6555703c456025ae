"""A model's body with a head of classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.data.batch import Answer
from malmoi.models.headed import Headed
from malmoi.models.initialize import initialize
from malmoi.models.matches import Texts, matches
from malmoi.models.model import Backbone, Pooling


@dataclass(frozen=True)
class TextForm:
    """How a text is put before a classifier, the same when it learns and when it is asked.

    Attributes:
        longest: tokens, the suffix among them; a longer text is cut. 0 for as many as the context has.
        suffix: stands behind every text; the class is read at its last token.
        pair: two texts are asked about at a time.
    """

    longest: int = 0
    suffix: str = ""
    pair: bool = False


class Classifier(Headed):
    """Scores each class from the state that stands for the whole text, see `Backbone.pooled`.

    Attributes:
        body: gives the hidden states; its own head is not used.
        classes: their names, in the order of the scores; one where the answer is a number.
        form: what its texts look like.
        answer: what the scores mean.

    Raises:
        UserError: the body's pooling compares two texts, and there is one.
    """

    def __init__(
        self,
        body: Backbone,
        classes: list[str],
        seed: int = 0,
        form: TextForm | None = None,
        answer: Answer = "class",
    ) -> None:
        super().__init__()
        self.body = body
        self.classes = classes
        self.answer = answer
        self.form = form or TextForm()
        if self.apart and not self.form.pair:
            raise UserError("pooling=matches compares two texts, and there is one.", "Name the other one by pair.")
        self.score = nn.Linear(body.config.pooled_width, len(classes), bias=body.score_bias)
        initialize(self.score, seed, prefix="score")

    @property
    def apart(self) -> bool:
        """Whether the two texts of a pair are read apart, each in special tokens of its own."""
        return self.body.config.pooling == "matches"

    def forward(
        self, tokens: torch.Tensor, lengths: torch.Tensor, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Unnormalised log-probabilities of the classes, or the number.

        Args:
            tokens: (rows, length) int64, padded on the right; the padding is never looked at.
            lengths: (rows,) int64, the number of real tokens, at least 1.
            segments: (rows, length) int64, which text of a pair each token belongs to; None for the first.

        Returns:
            (rows, classes) in the model's dtype.
        """
        return self.upper(self.lower(tokens, lengths, segments, 0), lengths, segments, 0)

    def lower(
        self, tokens: torch.Tensor, lengths: torch.Tensor, segments: torch.Tensor | None, end: int
    ) -> torch.Tensor:
        """The hidden states that block number `end` gets, (rows, length, width); takes what `forward` takes."""
        if not self.apart:
            hidden = self.body.embed(tokens, segments)
            return self.body.through(hidden, lengths, end=end) if end else hidden
        texts = _texts(lengths, segments)
        hidden = self.body.embed(texts.apart(tokens))
        return texts.together(self.body.through(hidden, texts.lengths, end=end) if end else hidden)

    def upper(
        self, hidden: torch.Tensor, lengths: torch.Tensor, segments: torch.Tensor | None, first: int
    ) -> torch.Tensor:
        """What `forward` gives, of the hidden states that block number `first` gets."""
        if not self.apart:
            read = self.body.pooled(self.body.through(hidden, lengths, first=first), lengths)
        else:
            texts = _texts(lengths, segments)
            states = self.body.through(texts.apart(hidden), texts.lengths, first=first)
            read = matches(self.body.finish(states), texts.lengths)
        result: torch.Tensor = self.score(read)
        return result


def _texts(lengths: torch.Tensor, segments: torch.Tensor | None) -> Texts:
    assert segments is not None, "texts that are read apart are told apart by segments"
    return Texts(lengths, segments)


class UpperClassifier(nn.Module):
    """The blocks of a classifier from number `first` on, fed with stored hidden states.

    Where the blocks below are frozen their outputs never change: computed once, they save most of every epoch.
    """

    def __init__(self, classifier: Classifier, first: int) -> None:
        super().__init__()
        self.classifier, self.first = classifier, first
        self.answer = classifier.answer

    def forward(
        self, hidden: torch.Tensor, lengths: torch.Tensor, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(rows, length, width) states, and lengths and segments as of `Classifier`, to (rows, classes)."""
        return self.classifier.upper(hidden, lengths, segments, self.first)


def new_classifier(
    body: Backbone,
    classes: list[str],
    seed: int,
    form: TextForm,
    pooling: Pooling = "token",
    answer: Answer = "class",
) -> Classifier:
    """A classifier to be trained. What published ones have between body and scores is added where it is missing."""
    body.config = body.config.model_copy(update={"pooling": pooling})
    added = body.add_pooler() if pooling == "token" else None
    if added is not None:
        initialize(added, seed, prefix="pooler")
    return Classifier(body, classes, seed, form, answer)
