"""The file of a SentencePiece model (Kudo and Richardson 2018), a protocol buffer: the fields that encoding needs."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from malmoi.core.errors import UserError
from malmoi.tokenizers.charsmap import check_charsmap

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of pieces; `tokenizer.ggml.token_type` of a GGUF counts them alike."""
UNIGRAM, BPE = 1, 2

_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_MODEL, _SUFFIX, _BYTE_FALLBACK, _UNKNOWN_ID, _BEGIN_ID, _END_ID, _PADDING_ID = 3, 24, 35, 40, 41, 42, 43
_CHARSMAP, _SPACE_FIRST, _SQUEEZED, _ESCAPED = 2, 3, 4, 5

_Value = int | memoryview
_NOTHING, _ZERO = memoryview(b""), memoryview(bytes(4))


class Piece(NamedTuple):
    """A piece of the vocabulary: its text, its score (a log probability, or minus its rank), and its kind."""

    text: str
    score: float
    kind: int = NORMAL


@dataclass(frozen=True)
class SentencePieceModel:
    """A model as its file holds it.

    Attributes:
        where: the file, for messages.
        pieces: the piece of every id.
        algorithm: `UNIGRAM` or `BPE`.
        byte_fallback: what no piece spells is spelled in bytes.
        unknown: id of the unknown piece.
        begin: id of what stands before a text, negative where there is none.
        end: id of what stands behind a text, negative where there is none.
        padding: id of what fills a batch, negative where there is none.
        charsmap: the compiled table of normalisation, checked; empty for none.
        space_first: a text is read as if a space stood before it.
        squeezed: spaces around a text, and all but one in a row, are left out.
    """

    where: str
    pieces: list[Piece]
    algorithm: int
    byte_fallback: bool = False
    unknown: int = 0
    begin: int = -1
    end: int = -1
    padding: int = -1
    charsmap: bytes = b""
    space_first: bool = True
    squeezed: bool = True

    def text(self, id: int) -> str:
        """The text of a piece, "" for a negative id."""
        return self.pieces[id].text if id >= 0 else ""


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a model's file.

    Raises:
        UserError: it is damaged, or its model is of a kind that no tokenizer here computes.
    """
    content = path.read_bytes()
    where = str(path)
    pieces: list[Piece] = []
    trainer: dict[int, _Value] = {}
    normalizer: dict[int, _Value] = {}
    try:
        for number, value in _fields(memoryview(content)):
            if isinstance(value, int):
                continue
            if number == _PIECES:
                pieces.append(_piece(value))
            elif number == _TRAINER:
                trainer |= dict(_fields(value))
            elif number == _NORMALIZER:
                normalizer |= dict(_fields(value))
    except ValueError as error:  # a byte that is no UTF-8 among them
        raise UserError(f"{where} is no SentencePiece model, or damaged: {error}.", "Get the file again.") from None
    algorithm = _number(trainer, _MODEL, UNIGRAM)
    if algorithm not in (UNIGRAM, BPE):
        raise UserError(f"{where} is a SentencePiece model of words or characters.", "Use a Unigram or BPE model.")
    if _number(trainer, _SUFFIX, 0) or not _number(normalizer, _ESCAPED, 1):
        raise UserError(f"{where} marks spaces in a way that is not supported.", "Use one with U+2581 before words.")
    table = normalizer.get(_CHARSMAP, _NOTHING)
    charsmap = b"?" if isinstance(table, int) else bytes(table)
    if charsmap:
        check_charsmap(charsmap, where)
    model = SentencePieceModel(
        where,
        pieces,
        algorithm,
        byte_fallback=bool(_number(trainer, _BYTE_FALLBACK, 0)),
        unknown=_number(trainer, _UNKNOWN_ID, 0),
        begin=_number(trainer, _BEGIN_ID, 1),
        end=_number(trainer, _END_ID, 2),
        padding=_number(trainer, _PADDING_ID, -1),
        charsmap=charsmap,
        space_first=bool(_number(normalizer, _SPACE_FIRST, 1)),
        squeezed=bool(_number(normalizer, _SQUEEZED, 1)),
    )
    check_pieces(model)
    return model


def check_pieces(model: SentencePieceModel) -> None:
    """See that every piece is one, and that the special ones are there.

    Raises:
        UserError: they are not.
    """
    texts = {piece.text for piece in model.pieces}
    largest = max(model.unknown, model.begin, model.end, model.padding)
    if "" in texts or len(texts) < len(model.pieces) or not all(math.isfinite(piece.score) for piece in model.pieces):
        what = "a piece that is empty, or there twice, or has no score"
    elif model.unknown < 0 or largest >= len(model.pieces):
        what = f"{len(model.pieces):,} pieces, but a special one of the number {max(largest, 0):,}"
    elif model.pieces[model.unknown].kind != UNKNOWN:
        what = "no unknown piece"
    else:
        return
    raise UserError(f"{model.where} is damaged: it has {what}.", "Get the file again.")


def _piece(message: memoryview) -> Piece:
    values = dict(_fields(message))
    text, score = values.get(_TEXT, _NOTHING), values.get(_SCORE, _ZERO)
    if isinstance(text, int) or isinstance(score, int) or len(score) != 4:
        raise ValueError("a piece without text or score")
    return Piece(bytes(text).decode("utf-8"), struct.unpack("<f", score)[0], _number(values, _KIND, NORMAL))


def _number(values: dict[int, _Value], field: int, otherwise: int) -> int:
    """An int32; negative ones are written as the uint64 of the same bits."""
    value = values.get(field, otherwise)
    if not isinstance(value, int):
        return -1
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """The fields of a message in the wire format: their numbers and values, as slices of the file.

    Raises:
        ValueError: a field reaches beyond the message, or is of no known form.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        form = key & 7
        if form == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if form == _SIZED:
            size, at = _varint(message, at)
        elif form in (_FOUR_BYTES, _EIGHT_BYTES):
            size = 4 if form == _FOUR_BYTES else 8
        else:
            raise ValueError(f"a field of the unknown form {form}")
        if size > len(message) - at:
            raise ValueError(f"a field of {size:,} bytes where {len(message) - at:,} are left")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, at + place + 1
    raise ValueError("a number that does not end")
