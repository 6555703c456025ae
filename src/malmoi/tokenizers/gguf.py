"""The tokenizer inside a GGUF file, by its metadata `tokenizer.*`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import tokenizers
from tokenizers import AddedToken

from malmoi.core.errors import UserError
from malmoi.tokenizers.byte_level import byte_level
from malmoi.tokenizers.charsmap import check_charsmap
from malmoi.tokenizers.roles import Roles, add_roles
from malmoi.tokenizers.sentencepiece import EXTRA_IDS, SPACE, llama, t5
from malmoi.tokenizers.sentencepiece_file import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNUSED,
    USER_DEFINED,
    Piece,
    SentencePieceModel,
    check_pieces,
)
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.vocabulary_files import split_merge
from malmoi.tokenizers.wordpiece import CONTINUES, wordpiece
from malmoi.tokenizers.wrapping import Wrap, wrap_as_asked, wrap_bert, wrap_t5

_Item = TypeVar("_Item")
_BRACKETED = re.compile(r"\[.*\]", re.DOTALL)
_SENTINEL = re.compile(r"\[PAD\d+\]")
"""What llama.cpp calls the ids behind T5's pieces."""


def tokenizer_from_gguf(metadata: dict[str, Any], where: str) -> Tokenizer:
    """The tokenizer whose parts a GGUF file holds.

    Args:
        metadata: the file's keys and values.
        where: the file, for messages.

    Raises:
        UserError: it is of a kind that is not known here, or the parts do not fit together.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(map(repr, _KINDS))
        raise UserError(f"{where} has a tokenizer of kind {kind!r}; malmoi reads {known}.")
    parts = _Parts({key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}, where)
    pieces = _KINDS[kind].respell(parts.pieces())
    backend, roles = _KINDS[kind].build(parts, pieces), parts.roles(pieces)
    whole = [piece for piece in pieces if piece.kind in (CONTROL, USER_DEFINED)]
    backend.add_tokens([AddedToken(piece.text, special=piece.kind == CONTROL, normalized=False) for piece in whole])
    add_roles(backend, roles, {})
    _KINDS[kind].wrap(backend, roles, {"add_bos_token": kind == "llama"} | parts.metadata)
    template = metadata.get("tokenizer.chat_template")
    return Tokenizer(backend, roles, template if isinstance(template, str) else None)


class _Parts(NamedTuple):
    """Metadata without the prefix of their names, and the file."""

    metadata: dict[str, Any]
    where: str

    def items(self, key: str, kind: type[_Item]) -> list[_Item]:
        values = self.metadata.get(key)
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise UserError(f"{self.where} has no list 'tokenizer.ggml.{key}'.", "Get the file again.")
        return values

    def pieces(self) -> list[Piece]:
        """The token of every id, with its score, 0 where none are stored, and its kind."""
        tokens = self.items("tokens", str)
        kinds = self.items("token_type", int) if "token_type" in self.metadata else [NORMAL] * len(tokens)
        scores = self.items("scores", float) if "scores" in self.metadata else [0.0] * len(tokens)
        if not len(tokens) == len(kinds) == len(scores):
            raise self.broken(f"{len(tokens):,} tokens, {len(kinds):,} types, {len(scores):,} scores")
        return list(map(Piece, tokens, scores, kinds))

    def id(self, name: str, count: int, otherwise: int = -1) -> int:
        """The id of a special token, checked against the count of tokens."""
        id = self.metadata.get(f"{name}_token_id", otherwise)
        if not isinstance(id, int) or id >= count:
            raise self.broken(f"{name} {id}, {count:,} tokens")
        return id

    def roles(self, pieces: list[Piece]) -> Roles:
        """The tokens of the roles; BERT's two stand under the names of others in newer files."""
        names = ("bos", "eos", "unknown", "seperator", "padding", "cls", "mask")
        ids = [self.id(name, len(pieces)) for name in names]
        roles = Roles(*(pieces[place].text if place >= 0 else "" for place in ids))
        moved = Roles(separator=roles.end, classification=roles.begin) if self.metadata["model"] == "bert" else Roles()
        return roles.over(moved)

    def broken(self, what: str) -> UserError:
        return UserError(f"{self.where}: its tokenizer is broken: {what}.", "Get the file again.")


def _byte_level(parts: _Parts, pieces: list[Piece]) -> tokenizers.Tokenizer:
    merges = [split_merge(merge, f"{parts.where}, its merges") for merge in parts.items("merges", str)]
    pre = str(parts.metadata.get("pre", "gpt-2"))
    return byte_level(_vocabulary(pieces), merges, pre)


def _vocabulary(pieces: list[Piece]) -> dict[str, int]:
    """Token to id, without those that only fill the table."""
    return {piece.text: id for id, piece in enumerate(pieces) if piece.kind != UNUSED}


def _llama(parts: _Parts, pieces: list[Piece]) -> tokenizers.Tokenizer:
    return llama(_sentencepiece(parts, pieces, BPE), {})


def _t5(parts: _Parts, pieces: list[Piece]) -> tokenizers.Tokenizer:
    return t5(_sentencepiece(parts, pieces, UNIGRAM), {"extra_ids": 0})


def _sentencepiece(parts: _Parts, pieces: list[Piece], algorithm: int) -> SentencePieceModel:
    table = parts.items("precompiled_charsmap", int) if "precompiled_charsmap" in parts.metadata else []
    charsmap = bytes(byte & 0xFF for byte in table)
    if charsmap:
        check_charsmap(charsmap, parts.where)
    model = SentencePieceModel(
        parts.where,
        pieces,
        algorithm,
        byte_fallback=any(piece.kind == BYTE for piece in pieces),
        unknown=parts.id("unknown", len(pieces), 0),
        charsmap=charsmap,
        space_first=bool(parts.metadata.get("add_space_prefix", True)),
    )
    check_pieces(model)
    return model


def _bert(parts: _Parts, pieces: list[Piece]) -> tokenizers.Tokenizer:
    """The file does not say whether text is lowercased: it is where no word of the vocabulary has a capital."""
    words = [piece.text for piece in pieces if piece.kind == NORMAL]
    lowercase = all(word == word.lower() for word in words if not _BRACKETED.fullmatch(word))
    unknown = parts.id("unknown", len(pieces))
    if unknown < 0:
        raise parts.broken("no unknown token")
    return wordpiece(_vocabulary(pieces), pieces[unknown].text, {"do_lower_case": lowercase}, parts.where)


def _as_they_stand(pieces: list[Piece]) -> list[Piece]:
    return pieces


def _with_marked_spaces(pieces: list[Piece]) -> list[Piece]:
    """Tokens of nothing but spaces stand there with real ones."""
    return [piece if piece.text.strip(" ") else piece._replace(text=SPACE * len(piece.text)) for piece in pieces]


def _with_sentinels(pieces: list[Piece]) -> list[Piece]:
    places = [place for place, piece in enumerate(pieces) if _SENTINEL.fullmatch(piece.text)][:EXTRA_IDS]
    names = {place: f"<extra_id_{EXTRA_IDS - 1 - count}>" for count, place in enumerate(places)}
    return [Piece(names[place], 0.0, CONTROL) if place in names else piece for place, piece in enumerate(pieces)]


def _with_continuations(pieces: list[Piece]) -> list[Piece]:
    """A word starts with U+2581 there, and what continues one stands bare; `[CLS]` and its like as they are."""

    def respelled(text: str) -> str:
        if text.startswith(SPACE) and len(text) > 1:
            return text[1:]
        return text if _BRACKETED.fullmatch(text) else CONTINUES + text

    return [piece._replace(text=respelled(piece.text)) for piece in pieces]


class _Kind(NamedTuple):
    """How a kind spells its tokens, what reads text with them, and what stands around a text."""

    respell: Callable[[list[Piece]], list[Piece]]
    build: Callable[[_Parts, list[Piece]], tokenizers.Tokenizer]
    wrap: Wrap


_KINDS = {
    "gpt2": _Kind(_as_they_stand, _byte_level, wrap_as_asked),
    "llama": _Kind(_with_marked_spaces, _llama, wrap_as_asked),
    "t5": _Kind(_with_sentinels, _t5, wrap_t5),
    "bert": _Kind(_with_continuations, _bert, wrap_bert),
}
