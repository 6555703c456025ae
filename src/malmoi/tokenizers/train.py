"""Training a tokenizer on text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, Self

import tokenizers
from pydantic import Field, model_validator
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from malmoi.core.config import Settings, key_of
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.tokenizers.byte_level import END_OF_TEXT, split_and_spell
from malmoi.tokenizers.patterns import PATTERNS
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.wrapping import BERT, wrap_bert

UNKNOWN = "<unk>"
BYTE_SPECIALS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")
ENCODER_SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
WORD = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class TokenizerSettings(Settings):
    """What to train.

    Attributes:
        kind: "byte" is byte-level BPE, which spells every text; "character" and "word" know what they saw in
            training, and an unknown token for the rest. A word carries the space before it.
        vocabulary: number of ids, special tokens included. Words and characters are taken by frequency; 0 takes all
            that occur, and of characters there may be fewer.
        frame: what stands around a text: nothing, or for encoders BERT's `[CLS] a [SEP] b [SEP]`; with it comes a
            `[MASK]`. Only of bytes.
    """

    kind: Literal["byte", "character", "word"] = "byte"
    vocabulary: int = Field(4096, ge=0)
    frame: Literal["none", "bert"] = "none"

    @model_validator(mode="after")
    def _check_frame(self) -> Self:
        if self.frame != "none" and self.kind != "byte":
            raise ValueError(f"frame={self.frame} is for kind=byte, not for kind={self.kind}")
        return self


def train_tokenizer(texts: Iterable[str], settings: TokenizerSettings, at_most: bool = False) -> Tokenizer:
    """Train a tokenizer; the same texts give the same tokenizer.

    Args:
        at_most: whether fewer ids will do where the text supports no more, which is said; for a default.

    Raises:
        UserError: the text supports fewer ids than asked for; says how many.
    """
    if settings.kind == "byte":
        framing = ENCODER_SPECIALS if settings.frame == "bert" else ()
        return _train_byte_level(texts, settings.vocabulary, framing, at_most)
    return _train_whole_pieces(texts, settings, at_most)


def _too_little_text(supported: int, wanted: int, at_most: bool, words: str = "") -> None:
    """Say that the vocabulary becomes smaller than wanted.

    Raises:
        UserError: it must not.
    """
    if not at_most:
        way_out = f"Set {key_of('vocabulary')}={supported} or less{words}, or add text."
        raise UserError(f"The text supports a vocabulary of {supported:,}, not {wanted:,}.", way_out)
    console.print(f"  a vocabulary of {supported:,}: so little text supports no {wanted:,}")


def _train_byte_level(texts: Iterable[str], vocabulary: int, framing: tuple[str, ...], at_most: bool) -> Tokenizer:
    """Byte-level BPE (Sennrich and others 2016; Radford and others 2019), pre-tokenized as llama.cpp's `qwen2`.

    Args:
        framing: BERT's special tokens, or none.
    """
    special_tokens = list(framing or BYTE_SPECIALS)
    smallest = 256 + len(special_tokens)
    if vocabulary < smallest:
        raise UserError(f"A byte-level vocabulary of {vocabulary} is too small.", f"It needs {smallest} ids or more.")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = split_and_spell(PATTERNS["qwen2"])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=console.is_terminal,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(texts, trainer)
    if backend.get_vocab_size() < vocabulary:
        _too_little_text(backend.get_vocab_size(), vocabulary, at_most)
    if not framing:
        return Tokenizer(backend)
    wrap_bert(backend, BERT.roles, {})
    return Tokenizer(backend, BERT.roles)


def _train_whole_pieces(texts: Iterable[str], settings: TokenizerSettings, at_most: bool) -> Tokenizer:
    """A vocabulary of the most frequent characters, or words with the space before them; joined they are the text."""
    normalizer = normalizers.NFC()
    pattern = r"[\s\S]" if settings.kind == "character" else WORD
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    counts: Counter[str] = Counter()
    for text in texts:
        composed = normalizer.normalize_str(text)
        words = settings.kind == "word"
        counts.update((piece for piece, _ in splitter.pre_tokenize_str(composed)) if words else composed)
    if not counts:
        raise UserError("There is no text to train a tokenizer on.", "Add text, or filter less.")
    if 0 < settings.vocabulary < 3:
        raise UserError(f"A vocabulary of {settings.vocabulary} is too small.", "It needs 3 ids or more, or 0 for all.")
    room = settings.vocabulary - 2 if settings.vocabulary else len(counts)
    if settings.vocabulary and len(counts) < room and settings.kind == "word":
        _too_little_text(len(counts) + 2, settings.vocabulary, at_most, ", 0 for all")
    kept = sorted(counts, key=lambda piece: (-counts[piece], piece))[:room]
    vocabulary = {piece: id for id, piece in enumerate([*sorted(kept), END_OF_TEXT, UNKNOWN])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizer
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return Tokenizer(backend)
