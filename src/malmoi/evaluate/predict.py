"""Classes of texts, by a fine-tuned classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from malmoi.core.console import Advance
from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.data.labelled import EncodedText, collate_labelled
from malmoi.models.classifier import Classifier
from malmoi.tokenizers.tokenizer import Tokenizer

ROWS = 32
"""Texts that are read at a time, of about one length."""


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], classifier: Classifier) -> list[torch.Tensor]:
    """(length,) int64 ids of every text in the form that the classifier wants.

    Special tokens that the vocabulary's family puts around a text, such as BERT's, stand around it and the suffix.
    Where there are none, an empty text is an end-of-text.

    Raises:
        UserError: the suffix leaves no room for a text.
    """
    form, context = classifier.form, classifier.body.config.context
    before, behind = tokenizer.around
    behind = [*(tokenizer.encode(form.suffix) if form.suffix else []), *behind]
    longest = min(form.longest or context, context)
    room = longest - len(before) - len(behind)
    if room < 1:
        raise UserError(f"{longest} tokens leave no room beside the suffix.", "Raise longest.")
    empty = [] if before else [tokenizer.end]
    rows = tokenizer.encode_batch(texts)
    return [torch.tensor([*before, *(row[:room] or empty), *behind]) for row in rows]


@torch.inference_mode()
def predict(model: torch.nn.Module, texts: Sequence[torch.Tensor], advance: Advance | None = None) -> torch.Tensor:
    """(texts, classes) float32 probabilities, in the order of the texts.

    Args:
        model: a `Classifier`, or an `UpperClassifier` for stored states.
        texts: (length,) int64 ids, or (length, width) hidden states.
        advance: told of every batch.
    """

    def probabilities(tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = model(tokens, lengths)
        return scores.float().softmax(-1)

    model.eval()
    return torch.stack(_of_each(probabilities, texts, advance))


@torch.no_grad()  # not inference_mode, since gradients flow through the layers above
def lower_states(
    classifier: Classifier, texts: Sequence[torch.Tensor], end: int, advance: Advance | None = None
) -> list[torch.Tensor]:
    """(length, width) hidden states of every text, those that block number `end` gets; for `UpperClassifier`."""
    classifier.eval()
    padded = _of_each(lambda tokens, lengths: classifier.lower(tokens, lengths, end), texts, advance)
    return [states[: len(text)].clone() for states, text in zip(padded, texts, strict=True)]


def _of_each(
    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    texts: Sequence[torch.Tensor],
    advance: Advance | None,
) -> list[torch.Tensor]:
    """What `compute`, which gets (rows, length) and (rows,), gives for each text; texts of about one length go in
    together."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        batch = collate_labelled([EncodedText(texts[index], IGNORED) for index in chosen])
        found |= zip(chosen, compute(batch.tokens, batch.lengths), strict=True)
        if advance:
            advance(len(chosen))
    return [found[index] for index in range(len(texts))]
