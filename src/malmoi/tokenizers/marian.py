"""Marian's tokenizer (Helsinki-NLP's OPUS-MT): two SentencePiece models, of source and target, and one vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file, write_json
from malmoi.tokenizers.directory import finish
from malmoi.tokenizers.roles import Roles
from malmoi.tokenizers.sentencepiece import SPACE
from malmoi.tokenizers.sentencepiece_file import read_sentencepiece
from malmoi.tokenizers.sentencepiece_reader import SentencePieceReader
from malmoi.tokenizers.tokenizer import Tokenizer, no_text
from malmoi.tokenizers.vocabulary_files import read_vocabulary
from malmoi.tokenizers.wrapping import T5

SOURCE, TARGET, VOCABULARY = "source.spm", "target.spm", "vocab.json"
_KEPT = ("source_lang", "target_lang", "model_max_length")


class MarianTokenizer(Tokenizer):
    """Text is cut by the source's model; what the vocabulary makes of the pieces are the ids.

    The target's model, which only learning from translations would need, is kept for others that open what is saved.
    The ids are those of `transformers` without `sacremoses`: with that package it also replaces punctuation first. A
    text may begin with the code of a language, which is one piece.

    Args:
        backend: the vocabulary alone.
        directory: where the files are.
        settings: what tokenizer_config.json said.
    """

    def __init__(self, backend: tokenizers.Tokenizer, roles: Roles, directory: Path, settings: dict[str, Any]) -> None:
        super().__init__(backend, roles)
        vocabulary = backend.get_vocab()
        self._ids = {piece: id for piece, id in vocabulary.items() if piece not in self.special}
        self.languages = tuple(sorted(piece[2:-2] for piece in vocabulary if _is_code(piece)))
        self._reader = SentencePieceReader(read_sentencepiece(directory / SOURCE))
        self._files = {name: (directory / name).read_bytes() for name in (SOURCE, TARGET, VOCABULARY)}
        self._settings = {name: settings[name] for name in _KEPT if name in settings}

    def encode_with_places(self, text: str, *, begins: bool = True) -> tuple[list[int], list[tuple[int, int]]]:
        """See `Tokenizer.encode_with_places`."""
        code, rest = _cut_code(text)
        try:
            pieces, places = self._reader.cut_with_places(rest)
        except UnicodeEncodeError:
            raise no_text(text) from None
        behind = [(start + len(code), end + len(code)) for start, end in places]
        return self._ids_of(code, pieces), [(0, len(code)), *behind] if code else behind

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """See `Tokenizer.encode_batch`."""
        rows = list(texts)
        cut = [_cut_code(text) for text in rows]
        try:
            pieces = self._reader.cut([rest for _, rest in cut])
        except UnicodeEncodeError:
            raise no_text("".join(rows)) from None
        return [self._ids_of(code, each) for (code, _), each in zip(cut, pieces, strict=True)]

    def encode_wrapped_batch(self, texts: Iterable[str | tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """See `Tokenizer.encode_wrapped_batch`; one end token stands behind a pair, all of which is one segment."""
        rows = [(row,) if isinstance(row, str) else row for row in texts]
        encoded = iter(self.encode_batch([text for row in rows for text in row]))
        wrapped = [[*(id for _ in row for id in next(encoded)), self.end] for row in rows]
        return [(ids, [0] * len(ids)) for ids in wrapped]

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`; no spaces stand around the text."""
        return super().decode(ids).strip()

    def save(self, directory: Path) -> None:
        """Write the files that the tokenizer came in, as `transformers` reads them."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            with atomic_file(directory / name, "wb") as file:
                file.write(content)
        settings = {"tokenizer_class": type(self).__name__, **self._settings, **self.role_settings()}
        write_json(directory / "tokenizer_config.json", settings)

    def _ids_of(self, code: str, pieces: list[str]) -> list[int]:
        """A piece that the vocabulary lacks is unknown, and a code is one piece."""
        assert self.unknown is not None
        return [self._ids.get(piece, self.unknown) for piece in ([code, *pieces] if code else pieces)]


def marian_tokenizer(directory: Path, settings: dict[str, Any]) -> MarianTokenizer:
    """The tokenizer of a directory that holds `source.spm`, `target.spm` and `vocab.json`.

    Args:
        settings: as `read_settings` gives them.

    Raises:
        UserError: one of them is missing or broken, or the target has a vocabulary of its own.
    """
    if settings.get("separate_vocabs"):
        raise UserError(f"{directory} has a vocabulary of its own for the target, which malmoi does not support.")
    if missing := [name for name in (SOURCE, TARGET, VOCABULARY) if not (directory / name).is_file()]:
        raise UserError(f"{directory} has no {missing[0]}.", "Get the whole folder of the translator.")
    path = directory / VOCABULARY
    vocabulary = read_vocabulary(path)
    if T5.roles.unknown not in vocabulary:
        raise UserError(f"{path} has no unknown token {T5.roles.unknown!r}.", "Get the file again.")
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=T5.roles.unknown))
    backend.decoder = decoders.Metaspace(SPACE, "always")
    return MarianTokenizer(*finish(backend, T5, settings, str(path)), directory, settings)


def _is_code(piece: str) -> bool:
    return piece.startswith(">>") and piece.endswith("<<")


def _cut_code(text: str) -> tuple[str, str]:
    """The code of a language with which a text begins, "" for none, and the rest."""
    end = text.find("<<") if text.startswith(">>") else -1
    return (text[: end + 2], text[end + 2 :]) if end >= 0 else ("", text)
