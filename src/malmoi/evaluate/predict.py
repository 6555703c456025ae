"""Classes of texts, by a fine-tuned classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.core.errors import UserError
from malmoi.data.batch import Answer, LabelledBatch
from malmoi.data.labelled import EncodedText, LabelledText, collate_labelled
from malmoi.evaluate.answers import answering
from malmoi.models.classifier import Classifier, UpperClassifier
from malmoi.tokenizers.framing import Frame, shorten
from malmoi.tokenizers.tokenizer import Tokenizer

ROWS = 32
"""Texts that are read at a time, of about one length."""

MEANINGS: dict[Answer, Callable[[torch.Tensor], torch.Tensor]] = {
    "class": lambda scores: scores.softmax(-1),
    "classes": torch.sigmoid,
    "number": lambda scores: scores,
}
"""What scores are turned into."""


def encode_texts(tokenizer: Tokenizer, texts: Sequence[LabelledText], classifier: Classifier) -> list[EncodedText]:
    """Every text in the form that the classifier wants.

    Special tokens that the vocabulary's family puts around a text or a pair, such as BERT's, stand around it and the
    suffix. Where there are none, an empty text is an end-of-text.

    Args:
        texts: a label that is none of the classifier's counts as not known.

    Raises:
        UserError: the suffix leaves no room for a text.
    """
    form, context = classifier.form, classifier.body.config.context
    suffix = tokenizer.encode(form.suffix) if form.suffix else []
    frame = Frame(tokenizer, pair=form.pair, apart=classifier.apart)
    longest = min(form.longest or context, context)
    room = longest - frame.size - len(suffix)
    if room < 1 + form.pair:
        raise UserError(f"{longest} tokens leave no room beside the suffix.", "Raise longest.")
    empty = [] if frame.size else [tokenizer.end]
    parts = [tokenizer.encode_batch([text.text for text in texts])]
    if form.pair:
        parts.append(tokenizer.encode_batch([text.pair or "" for text in texts]))
    answers = answering(classifier.answer, classifier.classes)
    encoded = []
    for text, *rows in zip(texts, *parts, strict=True):
        *first, last = shorten(rows, room)
        ids, segments = frame.fill([*first, [*(last or empty), *suffix]])
        label = answers.target(text.label)
        encoded.append(EncodedText(torch.tensor(ids), label, torch.tensor(segments) if form.pair else None))
    return encoded


@torch.inference_mode()
def predict(
    model: Classifier | UpperClassifier, texts: Sequence[EncodedText], advance: Advance | None = None
) -> torch.Tensor:
    """(texts, classes) float32 probabilities, in the order of the texts; (texts, 1) where the answer is a number.

    Args:
        model: a classifier, or the upper part of one for stored states.
        advance: told of every batch.
    """

    def probabilities(batch: LabelledBatch) -> torch.Tensor:
        scores: torch.Tensor = model(batch.tokens, batch.lengths, batch.segments)
        return means(scores.float())

    means = MEANINGS[model.answer]
    model.eval()
    return torch.stack(_of_each(model, probabilities, texts, advance))


@torch.no_grad()  # not inference_mode, since gradients flow through the layers above
def lower_states(
    classifier: Classifier, texts: Sequence[EncodedText], end: int, advance: Advance | None = None
) -> list[EncodedText]:
    """The texts as the hidden states that block number `end` gets, for `UpperClassifier`."""
    classifier.eval()

    def states(batch: LabelledBatch) -> torch.Tensor:
        return classifier.lower(batch.tokens, batch.lengths, batch.segments, end)

    padded = _of_each(classifier, states, texts, advance)
    return [
        EncodedText(one[: len(text.tokens)].clone(), text.label, text.segments)
        for one, text in zip(padded, texts, strict=True)
    ]


def _of_each(
    model: nn.Module,
    compute: Callable[[LabelledBatch], torch.Tensor],
    texts: Sequence[EncodedText],
    advance: Advance | None,
) -> list[torch.Tensor]:
    """What `compute` gives for each text on the model's device; texts of about one length go in together."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index].tokens))
    found: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        batch = collate_labelled([texts[index] for index in chosen]).to(device_of(model))
        found |= zip(chosen, compute(batch).cpu(), strict=True)
        if advance:
            advance(len(chosen))
    return [found[index] for index in range(len(texts))]
