"""One tokenizer for every kind: byte-level BPE, characters and words are models of the same library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<unk>"
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", END_OF_TEXT)
"""Special tokens at which an answer is over, where a vocabulary has them."""


def byte_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's byte-level spelling: printable bytes as themselves, the others from U+0100 up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


class Tokenizer:
    """Text to token ids and back.

    Attributes:
        size: number of ids, special tokens included.
        end: id of the token that ends a text; it also separates documents.
        stops: ids at which generation stops: `end` and what ends a turn of a dialogue.
        special: special tokens by their text.
        unknown: id of the unknown token, or None where every text can be spelled.
        chat_template: Jinja source that turns messages into text, or None for a tokenizer that has no dialogues.
    """

    def __init__(self, backend: tokenizers.Tokenizer, end: str = END_OF_TEXT, chat_template: str | None = None) -> None:
        self.backend = backend
        backend.encode_special_tokens = True  # special tokens written by a user are plain text
        self.special = {
            token.content: id for id, token in sorted(backend.get_added_tokens_decoder().items()) if token.special
        }
        if end not in self.special:
            raise UserError(f"The tokenizer has no special token {end!r} to end a text with.")
        self.size = backend.get_vocab_size()
        self.end = self.special[end]
        self.stops = {self.end} | {self.special[token] for token in TURN_ENDS if token in self.special}
        self.unknown: int | None = backend.token_to_id(UNKNOWN)
        self.chat_template = chat_template
        self._spellings = self._spell_all()
        self._specials = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))))

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Special tokens written in it are plain text, so that nobody can forge them."""
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of many texts, on all cores."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_template(self, text: str) -> list[int]:
        """Ids of a text in which special tokens mean themselves; for text that no user wrote."""
        ids: list[int] = []
        place = 0
        for match in self._specials.finditer(text):
            ids += [*self.encode(text[place : match.start()]), self.special[match.group()]]
            place = match.end()
        return ids + self.encode(text[place:])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are left out; bytes that are not whole UTF-8 become U+FFFD."""
        return b"".join(self.token_bytes(token) for token in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for, empty for special ones and the unknown one; joined they are the text."""
        return self._spellings[token]

    def special_text(self, token: int) -> str:
        """The text of a special token.

        Raises:
            KeyError: it is not one.
        """
        return next(text for text, id in self.special.items() if id == token)

    def save(self, directory: Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and the chat template, as `transformers` reads them."""
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "tokenizer.json", json.loads(self.backend.to_str()))
        end = self.special_text(self.end)
        settings: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": end,
            "pad_token": end,
            "clean_up_tokenization_spaces": False,
        }
        if self.unknown is not None:
            settings["unk_token"] = UNKNOWN
        write_json(directory / "tokenizer_config.json", settings)
        if self.chat_template is not None:
            (directory / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8")

    def _spell_all(self) -> list[bytes]:
        alphabet = byte_alphabet() if isinstance(self.backend.decoder, decoders.ByteLevel) else None
        silent = {*self.special.values(), self.unknown}
        return [
            b"" if id in silent else _spell(self.backend.id_to_token(id) or "", alphabet) for id in range(self.size)
        ]


def _spell(token: str, alphabet: dict[str, int] | None) -> bytes:
    if alphabet is None or any(character not in alphabet for character in token):
        return token.encode()
    return bytes(alphabet[character] for character in token)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer saved in a directory, by malmoi or by `transformers`.

    Raises:
        UserError: the files are missing or broken, or no end-of-text token is named.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"There is no tokenizer.json in {directory}.", "Name a tokenizer's or a checkpoint's folder.")
    configuration = directory / "tokenizer_config.json"
    settings = read_json(configuration) if configuration.is_file() else {}
    end = settings.get("eos_token") or END_OF_TEXT
    template = directory / "chat_template.jinja"
    chat_template = template.read_text(encoding="utf-8") if template.is_file() else settings.get("chat_template")
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for every defect of the file
        raise UserError(f"{path} is not a tokenizer: {error}.", "Make it again, or fetch it again.") from None
    return Tokenizer(backend, end["content"] if isinstance(end, dict) else end, chat_template)
