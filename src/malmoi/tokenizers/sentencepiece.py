"""SentencePiece vocabularies as models of the `tokenizers` library: BPE with byte fallback, and Unigram (Kudo 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from malmoi.core.errors import UserError
from malmoi.tokenizers.backend_errors import refusing
from malmoi.tokenizers.roles import Roles
from malmoi.tokenizers.sentencepiece_file import BPE, CONTROL, UNIGRAM, USER_DEFINED, Piece, SentencePieceModel
from malmoi.tokenizers.vocabulary_files import Merges
from malmoi.tokenizers.wrapping import ROBERTA, T5, UNNAMED, Family

SPACE = "\u2581"
"""Stands for a space, and before the first word."""
EXTRA_IDS = 100
"""How many `<extra_id_N>` stand behind T5's vocabulary where nothing else is said."""
MOST_EXTRA_IDS = 10_000
"""More than any model has; settings that ask for more are damaged."""


def plain_sentencepiece(model: SentencePieceModel, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """A model as the SentencePiece library itself reads text."""
    backend = _backend(model)
    steps: list[normalizers.Normalizer] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.squeezed:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    steps += [normalizers.Prepend(SPACE)] if model.space_first else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    backend.decoder = _decoder(model.space_first)
    return backend


def llama(model: SentencePieceModel, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """A model as `transformers` reads text with it for Llama.

    It differs from SentencePiece where a text begins with a space: that one takes the place of the space which
    SentencePiece puts before a text. With `legacy` (false without it) a space also stands behind special tokens.
    """
    backend = _backend(model)
    space_first = model.space_first and settings.get("add_prefix_space") is not False
    scheme = ("always" if settings.get("legacy") else "first") if space_first else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, scheme, split=False)
    backend.decoder = _decoder(space_first)
    return backend


def t5(model: SentencePieceModel, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """A Unigram model as T5 has it: behind the pieces stand the sentinels `<extra_id_N>`, the last one first."""
    count = settings.get("extra_ids", EXTRA_IDS)
    if type(count) is not int or not 0 <= count <= MOST_EXTRA_IDS:
        raise UserError(f"{model.where}: {count!r} extra ids cannot be had.", "Mend 'extra_ids' in its settings.")
    sentinels = [Piece(f"<extra_id_{number}>", 0.0, CONTROL) for number in reversed(range(count))]
    return _words(replace(model, pieces=[*model.pieces, *sentinels]))


def xlm_roberta(model: SentencePieceModel, settings: dict[str, Any]) -> tokenizers.Tokenizer:
    """A Unigram model as XLM-RoBERTa has it: fairseq's four tokens before the pieces, `<mask>` behind them."""
    if [piece.text for piece in model.pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise UserError(f"{model.where} does not begin as XLM-RoBERTa's vocabulary does.", "Get the file again.")
    head = [Piece(text, 0.0, CONTROL) for text in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [*head, *model.pieces[3:], Piece("<mask>", 0.0, CONTROL)]
    return _words(replace(model, pieces=pieces, unknown=3))


Read = Callable[[SentencePieceModel, dict[str, Any]], tokenizers.Tokenizer]
FAMILIES: dict[str, tuple[Read, Family]] = {
    **dict.fromkeys([*UNNAMED, "GemmaTokenizer"], (plain_sentencepiece, Family())),
    "LlamaTokenizer": (llama, Family()),
    **dict.fromkeys(["T5Tokenizer", "MT5Tokenizer"], (t5, T5)),
    "XLMRobertaTokenizer": (xlm_roberta, ROBERTA),
}
"""`tokenizer_class` of the settings -> how its model reads text, and what it says beside the vocabulary."""


def model_roles(model: SentencePieceModel) -> Roles:
    """The roles that a model's file itself names."""
    return Roles(
        begin=model.text(model.begin),
        end=model.text(model.end),
        unknown=model.text(model.unknown),
        padding=model.text(model.padding),
    )


def merges_of(pieces: Sequence[Piece]) -> Merges:
    """The merges of a BPE model, whose file holds none: any two pieces that join to a third, by the third's score."""
    ids = {piece.text: id for id, piece in enumerate(pieces)}
    found = []
    for id, (text, score, _) in enumerate(pieces):
        for place in range(1, len(text)):
            left, right = text[:place], text[place:]
            if left in ids and right in ids:
                found.append((-score, id, place, (left, right)))
    return [merge for *_, merge in sorted(found)]


def _backend(model: SentencePieceModel) -> tokenizers.Tokenizer:
    """The algorithm with its vocabulary; control pieces are special tokens, those of users one token each."""
    with refusing(f"{model.where} is no whole vocabulary"):
        if model.algorithm == BPE:
            core: models.Model = models.BPE(
                {piece.text: id for id, piece in enumerate(model.pieces)},
                merges_of(model.pieces),
                unk_token=model.text(model.unknown),
                fuse_unk=True,
                byte_fallback=model.byte_fallback,
            )
        else:
            scored = [(piece.text, piece.score) for piece in model.pieces]
            core = models.Unigram(scored, model.unknown, model.byte_fallback)
    backend = tokenizers.Tokenizer(core)
    whole = [piece for piece in model.pieces if piece.kind in (CONTROL, USER_DEFINED)]
    backend.add_tokens([AddedToken(text, special=kind == CONTROL, normalized=False) for text, _, kind in whole])
    return backend


def _words(model: SentencePieceModel) -> tokenizers.Tokenizer:
    """A Unigram model that `transformers` gives one word after the other, cut at every kind of space."""
    if model.algorithm != UNIGRAM:
        raise UserError(f"{model.where} is no Unigram model, which its settings ask for.", "Mend 'tokenizer_class'.")
    backend = _backend(model)
    if model.charsmap:
        backend.normalizer = normalizers.Precompiled(model.charsmap)
    marked = pre_tokenizers.Metaspace(SPACE, "always")
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marked])
    backend.decoder = decoders.Metaspace(SPACE, "always")
    return backend


def _decoder(space_first: bool) -> decoders.Decoder:
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if space_first else steps)
