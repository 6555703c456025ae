"""Labels of words: given by a model, given by counting, and how good either is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.data.token_labels import ENDS, LabelledWords, collate_labelled_tokens, encode_labelled_words
from malmoi.evaluate.classification import ClassificationScore, score_classes
from malmoi.models.token_labeller import TokenLabeller
from malmoi.tokenizers.tokenizer import Tokenizer

ROWS = 32
"""Texts that are read at a time, of about one length."""

Words = Sequence[str]


@torch.inference_mode()
def label_words(
    model: TokenLabeller, tokenizer: Tokenizer, texts: Sequence[Words], advance: Advance | None = None
) -> list[list[str]]:
    """The label of every word of each text, "" for those that stand behind the longest text that the model reads.

    Args:
        advance: told of every batch.
    """
    model.eval()
    longest = model.form.longest or model.body.config.context
    most = max(map(len, texts), default=0)
    numbers = tuple(map(str, range(most)))  # in the place of labels, to see which token stands for which word
    numbered = [LabelledWords(tuple(words), numbers[: len(words)], model.form.joined) for words in texts]
    encoded = encode_labelled_words(tokenizer, numbered, numbers, longest)
    labels = [[""] * len(words) for words in texts]
    order = sorted(range(len(texts)), key=lambda index: len(encoded[index].tokens))
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        batch = collate_labelled_tokens([encoded[index] for index in chosen]).to(device_of(model))
        likeliest = model(batch.tokens, batch.lengths).argmax(-1)
        for index, places, best in zip(chosen, batch.labels.cpu(), likeliest.cpu(), strict=True):
            known = places != IGNORED
            for word, label in zip(places[known].tolist(), best[known].tolist(), strict=True):
                labels[index][word] = model.classes[label]
        if advance:
            advance(len(chosen))
    return labels


def counted_labels(learned: Sequence[LabelledWords], texts: Sequence[Words]) -> list[list[str]]:
    """The control: the label that a word had most often before the same next word, or else anywhere, or else of all."""
    counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for text in learned:
        for word, following, label in zip(text.words, (*text.words[1:], ""), text.labels, strict=True):
            for key in ((word, following), (word,), ()):
                counts[key][label] += 1
    best = {key: counter.most_common(1)[0][0] for key, counter in counts.items()}
    return [
        [
            next(best[key] for key in ((word, following), (word,), ()) if key in best)
            for word, following in zip(words, (*words[1:], ""), strict=True)
        ]
        for words in texts
    ]


def score_labels(
    classes: Sequence[str], texts: Sequence[LabelledWords], given: Sequence[Sequence[str]]
) -> ClassificationScore:
    """Right against given labels, over the words that were given one.

    Raises:
        UserError: no word was.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    pairs = [
        (numbers[label], numbers[other])
        for text, labels in zip(texts, given, strict=True)
        for label, other in zip(text.labels, labels, strict=True)
        if label in numbers and other
    ]
    if not pairs:
        raise UserError("No word of the test has a label that was learned.", "Check the labels, or add texts.")
    return score_classes(list(classes), *map(list, zip(*pairs, strict=True)))


def spaced(characters: Words, labels: Sequence[str]) -> str:
    """A text with a blank behind every character that ends a word."""
    return "".join(
        character + " " * (label == ENDS) for character, label in zip(characters, labels, strict=True)
    ).strip()
