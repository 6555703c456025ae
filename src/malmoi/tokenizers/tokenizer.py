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
from malmoi.core.files import atomic_file, read_json, write_json

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<unk>"
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", END_OF_TEXT)
"""Special tokens at which an answer is over, where a vocabulary has them."""
LARGEST = 2**21
"""More ids than any vocabulary has; a file that claims more is damaged."""


def byte_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's byte-level spelling: printable bytes as themselves, the others from U+0100 up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


class Tokenizer:
    """Text to token ids and back.

    Attributes:
        size: one more than the largest id, special tokens included.
        end: id of the token that ends a text; it also separates documents.
        begin: text of the special token that a chat template may put first, or "" where there is none.
        opening: ids that stood before every text the vocabulary's model was trained on, by its own file's rules; none
            for most, the begin-of-text of Llama 3. `encode` leaves them out.
        stops: ids at which generation stops: `end` and what ends a turn of a dialogue.
        special: special tokens by their text.
        unknown: id of the unknown token, or None where every text can be spelled.
        chat_template: Jinja source that turns messages into text, or None for a tokenizer that has no dialogues.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        end: str = END_OF_TEXT,
        chat_template: str | None = None,
        *,
        begin: str = "",
    ) -> None:
        self.backend = backend
        backend.encode_special_tokens = True  # special tokens written by a user are plain text
        backend.no_padding()  # others store with a vocabulary how they once filled and cut their batches
        backend.no_truncation()
        self.special = {
            token.content: id for id, token in sorted(backend.get_added_tokens_decoder().items()) if token.special
        }
        if end not in self.special:
            raise UserError(f"The tokenizer has no special token {end!r} to end a text with.")
        self.size = 1 + max(backend.get_vocab().values())
        if self.size > LARGEST:
            raise UserError(f"The tokenizer has an id of {self.size - 1:,}; no vocabulary is that large.")
        self.end = self.special[end]
        self.begin = begin
        self.opening = _opening(backend)
        self.stops = {self.end} | {self.special[token] for token in TURN_ENDS if token in self.special}
        self.unknown: int | None = backend.token_to_id(UNKNOWN)
        self.chat_template = chat_template
        self._spellings = self._spell_all()
        self._specials = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))))

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Special tokens written in it are plain text, so that nobody can forge them.

        Raises:
            UserError: the text holds half of a surrogate pair, which is no character.
        """
        return self.encode_with_places(text)[0]

    def encode_with_places(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a text, and from which character to before which each one reaches."""
        try:
            encoding = self.backend.encode(text, add_special_tokens=False)
        except TypeError:
            raise _no_text(text) from None
        return encoding.ids, encoding.offsets

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of many texts, on all cores."""
        rows = list(texts)
        try:
            return [encoding.ids for encoding in self.backend.encode_batch_fast(rows, add_special_tokens=False)]
        except TypeError:
            raise _no_text("".join(rows)) from None

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
        """The bytes a token stands for; joined they are the text.

        Empty for special tokens, the unknown one, and ids from `size` on, which pad the table of some models.
        """
        return self._spellings[token] if token < self.size else b""

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
        settings: dict[str, Any] = {"bos_token": self.begin} if self.begin else {}
        settings |= {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": end,
            "pad_token": end,
            "clean_up_tokenization_spaces": False,
        }
        if self.unknown is not None:
            settings["unk_token"] = UNKNOWN
        write_json(directory / "tokenizer_config.json", settings)
        if self.chat_template is not None:
            with atomic_file(directory / "chat_template.jinja") as file:
                file.write(self.chat_template)

    def _spell_all(self) -> list[bytes]:
        """The bytes of every id: in the byte alphabet for byte-level BPE, as they stand for whole pieces."""
        if not isinstance(self.backend.decoder, decoders.ByteLevel | decoders.Fuse):
            kind = type(self.backend.decoder).__name__
            raise UserError(f"A tokenizer with the decoder {kind} is not supported.", "Use one with byte-level BPE.")
        alphabet = byte_alphabet() if isinstance(self.backend.decoder, decoders.ByteLevel) else {}
        silent = {*self.special.values(), self.unknown}
        as_they_stand = set(self.backend.get_added_tokens_decoder())
        spellings = [b""] * self.size
        for token, id in self.backend.get_vocab().items():
            if id not in silent:
                letters = {} if id in as_they_stand else alphabet
                spellings[id] = b"".join(
                    bytes((letters[character],)) if character in letters else character.encode() for character in token
                )
        return spellings


def _opening(backend: tokenizers.Tokenizer) -> list[int]:
    """Special ids in front of a text, as the file's post-processor puts them."""
    example = backend.encode("a", add_special_tokens=True)
    own = example.special_tokens_mask.index(0) if 0 in example.special_tokens_mask else 0
    ids: list[int] = example.ids[:own]
    return ids


def _no_text(text: str) -> UserError:
    place = next((place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff"), 0)
    return UserError(f"Character {place + 1:,} of the text is half of a surrogate pair.", "Remove it.")


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
    if not isinstance(settings, dict):
        raise UserError(f"{configuration} holds no settings.", "Make it again, or fetch it again.")
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for every defect of the file
        raise UserError(f"{path} is not a tokenizer: {error}.", "Make it again, or fetch it again.") from None
    try:
        end, begin = _named(settings, "eos_token") or END_OF_TEXT, _named(settings, "bos_token")
        return Tokenizer(backend, end, _template(directory, settings), begin=begin)
    except UserError as error:
        raise UserError(f"{path}: {error.what}", error.way_out) from None


def _named(settings: dict[str, Any], role: str) -> str:
    """The token that plays a role, which some files write as a string and others as an object."""
    token = settings.get(role)
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else ""


def _template(directory: Path, settings: dict[str, Any]) -> str | None:
    """The chat template: a file of its own, a setting, or the default one of several."""
    path = directory / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path} is not UTF-8 text.", "Fetch it again.") from None
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None
