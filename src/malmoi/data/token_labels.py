"""Texts of which every word, or every character, has a label of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from malmoi.core.errors import UserError
from malmoi.corpus.normalize import normalize
from malmoi.data.batch import IGNORED, Batch
from malmoi.data.table import read_text
from malmoi.tokenizers.framing import Frame
from malmoi.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenLabelledBatch(Batch):
    """Texts with a class for each token.

    Attributes:
        tokens: (rows, length) int64, padded on the right.
        lengths: (rows,) int64, the number of real tokens in each row, at least 1.
        labels: (rows, length) int64, index of the class; IGNORED at padding, at special tokens, at what continues a
            word, and where it is not known.
        segments: (rows, length) int64, which text of a pair each token belongs to; None where there are no pairs.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor
    segments: torch.Tensor | None = None


@dataclass(frozen=True)
class LabelledWords:
    """The words of a text and the label of each; `joined` texts have no blanks between them."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    joined: bool = False


@dataclass(frozen=True)
class LabelledTokens:
    """What a model sees of a text or a pair: (length,) int64 ids, classes and segments, see `TokenLabelledBatch`."""

    tokens: torch.Tensor
    labels: torch.Tensor
    segments: torch.Tensor | None = None


def read_labelled_words(path: Path) -> list[LabelledWords]:
    """The texts of a file with a word and its label a line and a blank line between texts, as those of CoNLL.

    Columns stand between blanks or tabs; the first one is the word, the last one the label.

    Raises:
        UserError: a line has but one column, or there is no text; names the line.
    """
    texts, words, labels = [], [], []
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        columns = line.split()
        if len(columns) == 1:
            raise UserError(f"{path}, line {number}: a word without a label.", "Write the word, a blank and its label.")
        if columns and (word := normalize(columns[0])):  # one of characters without a width is no word to read
            words.append(word)
            labels.append(columns[-1])
        elif words and not columns:
            texts.append(LabelledWords(tuple(words), tuple(labels)))
            words, labels = [], []
    if not texts:
        raise UserError(f"{path} has no labelled words.", "Write a word, a blank and its label on each line.")
    return texts


GOES_ON, ENDS = "goes on", "ends"


def spacing(text: str) -> LabelledWords:
    """The characters of a text without its blanks, and of each whether its word ends there: any text is an example.

    It wants a tokenizer of characters, since a longer token has but one label.
    """
    words = normalize(text).split()
    labels = [ENDS if number == len(word) else GOES_ON for word in words for number in range(1, len(word) + 1)]
    return LabelledWords(tuple("".join(words)), tuple(labels), joined=True)


def label_names(texts: Iterable[LabelledWords]) -> list[str]:
    """The labels that occur, sorted."""
    return sorted({label for text in texts for label in text.labels})


def encode_labelled_words(
    tokenizer: Tokenizer, texts: Sequence[LabelledWords], classes: Sequence[str], longest: int
) -> list[LabelledTokens]:
    """Ids with the class of every word at its first token (Devlin and others 2019, arXiv:1810.04805, section 5.3).

    Args:
        classes: a label that is none of these counts as not known.
        longest: tokens; what does not fit in is left out.
    """
    frame, numbers = Frame(tokenizer, pair=False), {name: number for number, name in enumerate(classes)}
    encoded = []
    for text in texts:
        blank = "" if text.joined else " "
        ids, places = tokenizer.encode_with_places(blank.join(text.words))
        begins, at = {}, 0
        for word, label in zip(text.words, text.labels, strict=True):
            begins[at] = numbers.get(label, IGNORED)
            at += len(word) + len(blank)
        labels = [_class_of(start, end, begins) for start, end in places]
        room = longest - frame.size
        tokens, _ = frame.fill([ids[:room]])
        before = len(tokens) - frame.behind - len(ids[:room])
        around = [IGNORED] * before, [IGNORED] * frame.behind
        encoded.append(LabelledTokens(torch.tensor(tokens), torch.tensor([*around[0], *labels[:room], *around[1]])))
    return encoded


def _class_of(start: int, end: int, begins: dict[int, int]) -> int:
    """The class of the word that begins in a token, which is then taken; a token may begin with a blank."""
    return next((begins.pop(place) for place in range(start, end) if place in begins), IGNORED)


def collate_labelled_tokens(texts: Sequence[LabelledTokens]) -> TokenLabelledBatch:
    """A batch padded on the right with zeros; of pairs, if there are segments."""
    segments = [text.segments for text in texts if text.segments is not None]
    return TokenLabelledBatch(
        pad_sequence([text.tokens for text in texts], batch_first=True),
        torch.tensor([len(text.tokens) for text in texts]),
        pad_sequence([text.labels for text in texts], batch_first=True, padding_value=IGNORED),
        pad_sequence(segments, batch_first=True) if segments else None,
    )
