"""One tokenizer for every kind: byte-level BPE, SentencePiece, WordPiece, words and characters, of one library."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file, write_json
from malmoi.tokenizers.backend_errors import refusing
from malmoi.tokenizers.byte_level import END_OF_TEXT
from malmoi.tokenizers.roles import Roles, unknown_id
from malmoi.tokenizers.spelling import Speller
from malmoi.tokenizers.vocabulary_files import LARGEST

TEXT_ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "[SEP]")
"""Special tokens that end a text, where nothing says which one does."""
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", END_OF_TEXT)
"""Special tokens at which an answer is over, where a vocabulary has them."""
_SPACES = r"[^\S\x1c-\x1f]*"


class Tokenizer:
    """Text to token ids and back.

    Byte-level BPE gives back every text, if its vocabulary has all bytes. SentencePiece with byte fallback gives back
    what its normalisation leaves of a text, but for a space that the text begins with. What words, characters, Unigram
    and WordPiece do not know becomes an unknown token, and WordPiece also forgets where there were how many spaces.

    Attributes:
        size: one more than the largest id, special tokens included.
        roles: which special tokens play a part, by their texts.
        end: id of the token that ends a text, of BERT's kind the separator; it also separates documents.
        begin: text of the special token that a chat template may put first, or "" where there is none.
        padding: id that fills the shorter rows of a batch, or None.
        mask: id that stands for a token to be guessed, or None.
        stops: ids at which generation stops: `end` and what ends a turn of a dialogue.
        special: special tokens by their text.
        unknown: id of the unknown token, or None where every text can be spelled.
        chat_template: Jinja source that turns messages into text, or None for a tokenizer that has no dialogues.
        languages: codes of languages, one of which, as `>>kor<<`, begins a text for a translator into several.

    Args:
        backend: the library's tokenizer, which is taken over.
        roles: which special tokens play a part; those that the backend does not have are left out.
        chat_template: see above.

    Raises:
        UserError: the vocabulary, special tokens or decoder of the backend do not make a tokenizer.
    """

    languages: tuple[str, ...] = ()

    def __init__(
        self, backend: tokenizers.Tokenizer, roles: Roles | None = None, chat_template: str | None = None
    ) -> None:
        self.backend = backend
        backend.encode_special_tokens = True  # special tokens written by a user are plain text
        backend.no_padding()  # others store with a vocabulary how they once filled and cut their batches
        backend.no_truncation()
        self._speller = Speller(backend.decoder)
        self._added = backend.get_added_tokens_decoder()
        self.special = {token.content: id for id, token in sorted(self._added.items()) if token.special}
        roles = roles or Roles()
        usual = next((token for token in TEXT_ENDS if token in self.special), "")
        end = roles.end or roles.separator or usual
        if end not in self.special:
            raise UserError(f"The tokenizer has no special token {end!r} to end a text with.")
        self.roles = roles.among(self.special)
        self.size = 1 + max(backend.get_vocab().values())
        if self.size > LARGEST:
            raise UserError(f"The tokenizer has an id of {self.size - 1:,}; no vocabulary is that large.")
        self.unknown = unknown_id(backend)
        self._forgeable = {id for id in self.special.values() if id != self.unknown}
        self._check_wrapping()
        self.end = self.special[end]
        self.begin = self.roles.begin
        self.padding, self.mask = self.special.get(self.roles.padding), self.special.get(self.roles.mask)
        self.stops = {self.end} | {self.special[token] for token in TURN_ENDS if token in self.special}
        self.chat_template = chat_template

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Special tokens written in it are plain text, so that nobody can forge them.

        Raises:
            UserError: the text holds half of a surrogate pair, which is no character.
        """
        return self.encode_with_places(text)[0]

    def encode_with_places(self, text: str, *, begins: bool = True) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a text, and from which character to before which each one reaches.

        Args:
            begins: no special token stands before it. Some vocabularies put a space only there.
        """
        backend = self.backend if begins else self._within
        try:  # the library lets other threads work only while it encodes several texts
            (encoding,) = backend.encode_batch([text], add_special_tokens=False)
        except TypeError:
            raise no_text(text) from None
        return self._plain(encoding), self._plain(encoding, encoding.offsets)

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of many texts, on all cores."""
        rows = list(texts)
        try:
            encodings = self.backend.encode_batch_fast(rows, add_special_tokens=False)
        except TypeError:
            raise no_text("".join(rows)) from None
        return [self._plain(encoding) for encoding in encodings]

    def encode_wrapped(self, text: str, pair: str | None = None) -> tuple[list[int], list[int]]:
        """Ids of a text, or of a pair, in the special tokens that the family puts around it, and segments of the ids.

        BERT writes `[CLS] a [SEP] b [SEP]` and counts the second text and its end as segment 1.
        """
        (wrapped,) = self.encode_wrapped_batch([text if pair is None else (text, pair)])
        return wrapped

    def encode_wrapped_batch(self, texts: Iterable[str | tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """`encode_wrapped` of many texts or pairs, on all cores."""
        rows = list(texts)
        try:
            encodings = self.backend.encode_batch(rows)
        except TypeError:
            raise no_text("".join(part for row in rows for part in ([row] if isinstance(row, str) else row))) from None
        return [(self._plain(each), self._plain(each, each.type_ids)) for each in encodings]

    def encode_template(self, text: str) -> list[int]:
        """Ids of a text in which special tokens mean themselves; for text that no user wrote."""
        ids: list[int] = []
        for number, piece in enumerate(self.cut(text)):
            ids += [piece] if isinstance(piece, int) else self.encode_with_places(piece, begins=number == 0)[0]
        return ids

    def cut(self, text: str) -> list[int | str]:
        """The ids of the special tokens in a text and the texts between them, without the spaces that a token takes."""
        parts: list[int | str] = []
        place = 0
        for match in self._cutter.finditer(text):
            parts += [text[place : match.start()], self.special[match[match.lastindex or 0]]]
            place = match.end()
        return [part for part in [*parts, text[place:]] if part != ""]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are left out; bytes that are not whole UTF-8 become U+FFFD."""
        text = b"".join(self.token_bytes(token) for token in ids).decode("utf-8", errors="replace")
        return text.removeprefix(self.leading)

    @property
    def leading(self) -> str:
        """The space that `decode` leaves out before a text, "" of a vocabulary that puts none there."""
        return self._speller.leading

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; joined they are the text, behind a space with some vocabularies.

        Empty for special tokens, the unknown one, and ids from `size` on, which pad the table of some models.
        """
        return self._spellings[token] if token < self.size else b""

    def special_text(self, token: int) -> str:
        """The text of a special token.

        Raises:
            KeyError: it is not one.
        """
        return next(text for text, id in self.special.items() if id == token)

    def role_settings(self) -> dict[str, str]:
        """The roles by the names that settings and chat templates have for them; `end` also pads where nothing does."""
        end = self.special_text(self.end)
        unknown = "" if self.unknown is None else self.backend.id_to_token(self.unknown) or ""
        roles = replace(self.roles, begin=self.begin).over(Roles(end=end, padding=end, unknown=unknown))
        return roles.settings()

    def save(self, directory: Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and the chat template, as `transformers` reads them."""
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "tokenizer.json", json.loads(self.backend.to_str()))
        settings: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }
        if self.roles.classification and any(self.encode_wrapped("", "")[1]):  # a model of BERT's kind reads segments
            settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        write_json(directory / "tokenizer_config.json", settings | self.role_settings())
        if self.chat_template is not None:
            with atomic_file(directory / "chat_template.jinja") as file:
                file.write(self.chat_template)

    def _plain(self, encoding: tokenizers.Encoding, values: list[Any] | None = None) -> list[Any]:
        """The ids of an encoding, or values of its tokens, without special tokens that were written in the text.

        The library's model may know special tokens as words like any other, which Unigram then finds in a text. Such a
        one is spelled character by character.
        """
        ids, put_around = encoding.ids, encoding.special_tokens_mask
        values = ids if values is None else values
        if sum(map(self._forgeable.__contains__, ids)) == sum(put_around):
            return values
        plain: list[Any] = []
        for id, put, value in zip(ids, put_around, values, strict=True):
            parts = [id] if put or id not in self._forgeable else self._spelled_out(id)
            plain += parts if values is ids else [value] * len(parts)
        return plain

    def _spelled_out(self, id: int) -> list[int]:
        """Empty for a special token of one character, which there is no other way to write."""
        tokenize = self.backend.model.tokenize
        parts = [token.id for character in self.special_text(id) for token in tokenize(character)]
        return [part for part in parts if part not in self._forgeable]

    @functools.cached_property
    def _spellings(self) -> list[bytes]:
        """The bytes of every id."""
        silent = {*self.special.values(), self.unknown}
        spellings = [b""] * self.size
        for token, id in self.backend.get_vocab().items():
            if id not in silent:
                spellings[id] = self._speller.spell(token, added=id in self._added)
        return spellings

    @functools.cached_property
    def around(self) -> tuple[list[int], list[int]]:
        """Special ids before and behind every text that the vocabulary's model was trained on, by its file's rules.

        None for most; the begin-of-text of Llama 3, `[CLS]` and `[SEP]` of BERT. `encode` leaves them out.
        """
        with refusing("The tokenizer cannot read a text"):
            example = self.backend.encode("a")
        put = example.special_tokens_mask
        if 0 not in put:
            return example.ids, []
        return example.ids[: put.index(0)], example.ids[len(put) - put[::-1].index(0) :]

    @property
    def opening(self) -> list[int]:
        """What of `around` stands before a text that is to be continued."""
        return self.around[0]

    @property
    def start(self) -> list[int]:
        """What a text begins behind, at least one id: `opening`, or else the token that ended the text before it."""
        return self.opening or [self.end]

    @functools.cached_property
    def _cutter(self) -> re.Pattern[str]:
        """Finds special tokens, the longest first, each in a group, with the spaces around it that it takes."""
        around: dict[tuple[bool, bool], list[str]] = {}
        special = [token for token in self._added.values() if token.special]
        for token in sorted(special, key=lambda token: -len(token.content)):
            around.setdefault((token.lstrip, token.rstrip), []).append(re.escape(token.content))
        return re.compile(
            "|".join(
                f"{_SPACES if left else ''}({'|'.join(texts)}){_SPACES if right else ''}"
                for (left, right), texts in around.items()
            )
        )

    @functools.cached_property
    def _within(self) -> tokenizers.Tokenizer:
        """The backend for a text behind a special token, where no space is put if it is put only before a text."""
        pre_tokenizer = self.backend.pre_tokenizer
        state = pre_tokenizer.__getstate__() if pre_tokenizer is not None else b""
        if b'"prepend_scheme":"first"' not in state:
            return self.backend
        content = json.loads(self.backend.to_str())
        content["pre_tokenizer"] = json.loads(state.replace(b'"prepend_scheme":"first"', b'"prepend_scheme":"never"'))
        within = tokenizers.Tokenizer.from_str(json.dumps(content))
        within.encode_special_tokens = True
        return within

    def _check_wrapping(self) -> None:
        with refusing("The tokenizer cannot read a text"):
            wrapped = self.backend.encode("", "").ids
        if wrong := [id for id in wrapped if id >= self.size]:
            raise UserError(f"The tokenizer puts the id {wrong[0]:,} around a text, which it does not have.")


def no_text(text: str) -> UserError:
    """What to say of a text that holds half of a surrogate pair."""
    place = next((place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff"), 0)
    return UserError(f"Character {place + 1:,} of the text is half of a surrogate pair.", "Remove it.")
