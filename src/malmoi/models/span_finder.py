"""An encoder that finds answers in a passage (Devlin and others 2019, arXiv:1810.04805, section 4.2)."""

from __future__ import annotations

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.data.question_windows import QuestionForm
from malmoi.data.question_words import KINDS
from malmoi.models.encoder import Encoder
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.headed import Headed
from malmoi.models.initialize import initialize
from malmoi.models.model import Backbone


class SpanFinder(Headed):
    """Scores every token as the first and as the last one of the answer.

    Attributes:
        body: an encoder.
        form: what its questions and passages look like.

    Raises:
        UserError: the body is no encoder, or has no segments for what the form marks.
    """

    body: Encoder

    def __init__(self, body: Backbone, form: QuestionForm | None = None, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(body, Encoder):
            raise UserError(
                "Answers are found in a passage by a model that looks both ways, and this is a language model.",
                "Take an encoder, such as weights=minilm-l6-v2; a language model is fine-tuned to answer by instruct.",
            )
        self.body, self.form = body, form or usual_form(body.config)
        if self.form.marks and body.config.segments <= KINDS:
            raise UserError(
                f"Marked passages need {1 + KINDS} segments, and the encoder has {body.config.segments}.",
                "Set marks=false.",
            )
        self.span = nn.Linear(body.config.width, 2)
        initialize(self.span, seed, prefix="span.score")

    def forward(
        self, tokens: torch.Tensor, lengths: torch.Tensor, segments: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Unnormalised log-probabilities of the first and of the last token of the answer.

        Args:
            tokens: (rows, length) int64, padded on the right.
            lengths: (rows,) int64, the number of real tokens, at least 1.
            segments: (rows, length) int64, as `SpanBatch.segments`; None where all are of the first text.

        Returns:
            (rows, length, 2) in the model's dtype; what stands at the padding means nothing.
        """
        scores: torch.Tensor = self.span(self.body(tokens, lengths, segments if self.body.segments else None))
        return scores


def usual_form(config: EncoderConfig) -> QuestionForm:
    """The windows of SQuAD's models, as far as the context goes."""
    return QuestionForm(longest=min(QuestionForm.longest, config.context))


def new_span_finder(body: Backbone, form: QuestionForm, seed: int) -> SpanFinder:
    """A span finder to be trained; kinds of words that the form marks begin as the passage's segment."""
    if isinstance(body, Encoder) and form.marks:
        _add_segments(body, 1 + KINDS)
    return SpanFinder(body, form, seed)


def _add_segments(body: Encoder, number: int) -> None:
    """Make so many segments of the two that there are, all but the first like the second."""
    table = body.segments
    if table is None or table.num_embeddings < 2:
        raise UserError(
            "This encoder does not tell two texts apart by segments, so that words of a passage cannot be marked.",
            "Set marks=false, or take an encoder of BERT's kind.",
        )
    widened = nn.Embedding(number, body.config.width)
    with torch.no_grad():
        widened.weight[:] = table.weight[1]
        widened.weight[0] = table.weight[0]
    body.segments = widened
    body.config = body.config.model_copy(update={"segments": number})
